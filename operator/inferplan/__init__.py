"""An ``InferenceScenario`` comes in; a sized, priced, explained deployment goes out.

The road of a scenario, from the top: :mod:`inferplan.cli` reads files, :mod:`inferplan.pipeline` runs
scenario and catalog through :mod:`inferplan.planner`, which weighs the numbers of :mod:`inferplan.estimate`;
everyone speaks in the values of :mod:`inferplan.domain`.
"""

__version__ = "0.1.0"
