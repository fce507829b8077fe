"""From a scenario and a catalog to an outcome: candidates, constraints, search, tiers, explanation."""

from inferplan.planner.planner import Planner

__all__ = ["Planner"]
