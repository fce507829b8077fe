"""Waiting and percentiles: from means to what nine or nineteen of twenty requests see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = Floats | float

_NEARLY_FULL = 0.999


def slot_wait(utilization: Floats, servers: Floats, service: Floats, variability: Numbers) -> Floats:
    r"""Mean wait for one of ``servers`` batch slots [s].

    Notes
    -----
    .. math:: W = \frac{c_a^2 + c_s^2}{2}\, \frac{\rho^{\sqrt{2 (B + 1)} - 1}}{B (1 - \rho)}\, S

    (Sakasegawa's approximation of the G/G/m queue), with utilization capped just below one.

    References
    ----------
    .. [1] H. Sakasegawa, "An approximation formula L_q = a rho^b / (1 - rho)", Ann. Inst. Stat. Math. 29, 1977.

    >>> round(float(slot_wait(np.array(0.5), np.array(1.0), np.array(1.0), 1.0)), 6)  # M/M/1: rho / (1 - rho)
    1.0
    """
    rho = np.minimum(utilization, _NEARLY_FULL)
    exponent = np.sqrt(2.0 * (servers + 1.0)) - 1.0
    return variability * rho**exponent / (servers * (1.0 - rho)) * service


def slot_chance(utilization: Floats, servers: Floats) -> Floats:
    """Chance that a request has to wait for a slot at all, as Sakasegawa's formula implies it."""
    return np.minimum(utilization, _NEARLY_FULL) ** (np.sqrt(2.0 * (servers + 1.0)) - 1.0)


def wait_quantile(conditional_wait: Floats, chance: Floats, percentile: int) -> Floats:
    """Wait at a percentile: with probability ``chance`` one waits, then exponentially long.

    Notes
    -----
    ``max(0, w ln(r / (1 - q)))`` for the mean wait w of those who wait, and their share r.

    >>> round(float(wait_quantile(np.array(1.0), np.array(0.5), 95)), 4)  # ln(0.5 / 0.05)
    2.3026
    """
    tail = 1.0 - percentile / 100.0
    return np.maximum(0.0, conditional_wait * np.log(np.maximum(chance, 1e-12) / tail))


def joint_quantile(mean: Floats, *excesses: Floats) -> Floats:
    """Quantile of a sum of independent parts from each part's excess over its own mean (root of squares).

    Excesses below their mean add up plainly, so the result never exceeds the sum of quantiles.
    """
    above = sum((np.square(np.maximum(e, 0.0)) for e in excesses), start=np.zeros_like(mean))
    below = sum((np.minimum(e, 0.0) for e in excesses), start=np.zeros_like(mean))
    return np.maximum(mean + np.sqrt(above) + below, 0.0)
