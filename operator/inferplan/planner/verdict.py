"""What a check finds over a whole table of shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found over all shapes; ``limit``, ``actual`` and ``detail`` have shape (n,) where they exist."""

    fails: NDArray[np.bool_]
    limit: NDArray[np.float64] | None = None
    actual: NDArray[np.float64] | None = None
    unit: str = ""
    detail: NDArray[np.object_] | None = None
    """Why, in words; empty where the numbers tell it."""
