"""The one road from a scenario to its outcome; the command line and the operator both take it."""

from __future__ import annotations

from dataclasses import replace

from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.manifest import Manifest
from inferplan.domain.operation import Deploy
from inferplan.domain.plan import Outcome
from inferplan.domain.scenario import Scenario
from inferplan.planner import Planner


def faults_of(scenario: Scenario, catalog: Catalog) -> tuple[Fault, ...]:
    """What of a scenario could not be put to work, whatever the plan: engine versions and arguments.

    Without either in the scenario there is nothing to look up.
    """
    asked = scenario.engine
    if asked.version is None and not asked.extra_args:
        return ()
    from inferplan.render.refusals import spec_faults  # noqa: PLC0415 - few scenarios say anything about flags

    return spec_faults(scenario, catalog.engines_for(scenario))


def run(
    scenario: Scenario,
    catalog: Catalog,
    *,
    inventory: Inventory | None = None,
    planner: Planner | None = None,
    deploy: Deploy | None = None,
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
    deploy
        How it will be deployed, where that is known: what is missing for it becomes a caution.

    Returns
    -------
    Outcome
        Plan or infeasibility; the same inputs give the same outcome.

    Raises
    ------
    InputError
        If what the scenario says about the engine cannot be put to work, so that no plan is worth anything.
    """
    from inferplan.render.refusals import missing_to_deploy, plan_faults  # noqa: PLC0415 - as above

    faults = faults_of(scenario, catalog)
    if faults:
        raise InputError(faults)
    outcome = (planner or Planner(catalog)).plan(scenario, inventory)
    if outcome.chosen is None:
        return outcome
    faults = plan_faults(outcome.chosen, scenario, inventory)
    if faults:
        raise InputError(faults)
    missing = () if deploy is None else tuple(missing_to_deploy(scenario, deploy))
    told = tuple(f"cannot be deployed yet: {fault}" for fault in missing)
    return replace(outcome, cautions=(*outcome.cautions, *told)) if told else outcome


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
    from inferplan.render.renderer import render  # noqa: PLC0415 - who only plans need not wait for templates

    if outcome.chosen is None:
        return ()
    return render(outcome.chosen, deploy, scenario=outcome.scenario, inventory=inventory)
