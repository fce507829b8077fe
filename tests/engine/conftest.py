"""What of this folder is no test of the project's environment."""

from __future__ import annotations

collect_ignore = ["judge.py", "simulated.py"]  # they run in the engine's environment
