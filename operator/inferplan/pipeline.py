"""The one road from a scenario to its outcome; the command line and the operator both take it."""

from __future__ import annotations

from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.manifest import Manifest
from inferplan.domain.operation import Deploy
from inferplan.domain.plan import Outcome
from inferplan.domain.scenario import Scenario
from inferplan.planner import Planner


def run(
    scenario: Scenario,
    catalog: Catalog,
    *,
    inventory: Inventory | None = None,
    planner: Planner | None = None,
) -> Outcome:
    """Plan one scenario.

    Parameters
    ----------
    scenario
        What is wanted, defaults resolved.
    catalog
        What is known about the world.
    inventory
        GPU nodes of the cluster, None when there is no cluster.
    planner
        Reuse it for several scenarios on the same catalog; made anew when absent.

    Returns
    -------
    Outcome
        Plan or infeasibility; the same inputs give the same outcome.
    """
    return (planner or Planner(catalog)).plan(scenario, inventory)


def manifests(outcome: Outcome, deploy: Deploy, *, inventory: Inventory | None = None) -> tuple[Manifest, ...]:
    """Write the objects that put an outcome to work.

    Parameters
    ----------
    outcome
        As :func:`run` found it.
    deploy
        How and in whose name. The command line and the operator differ only in the ``uid`` in it, and so only in the
        owner reference.
    inventory
        The nodes that the plan was made for.

    Returns
    -------
    tuple of Manifest
        In the order in which they are applied; nothing where no plan was found.

    Raises
    ------
    UnrenderableError
        If the plan cannot be deployed as it is.
    """
    from inferplan.render import render  # noqa: PLC0415 - who only plans need not wait for templates

    if outcome.chosen is None:
        return ()
    return render(outcome.chosen, deploy, scenario=outcome.scenario, inventory=inventory)
