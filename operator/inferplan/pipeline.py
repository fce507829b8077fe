"""The one road from a scenario to its outcome; the command line and the operator both take it."""

from __future__ import annotations

from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
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
