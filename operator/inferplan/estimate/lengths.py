"""How prompts and outputs spread: one family of distributions with any mean and any 95th percentile.

Up to ``p95 = 3.87 x mean`` lengths are lognormal. No lognormal distribution reaches further, so beyond that its widest
one is bent: everything above the 95th percentile moves up with it, closer together the further it goes, and everything
below shrinks so that the mean stays. At ``p95 = 20 x mean`` one request in twenty has the P95 and no other counts.

Nothing reaches further at all, for one request in twenty at the P95 makes a mean of P95 / 20 by itself. Where a mean
and a P95 contradict each other in this way, both are taken as stated: the P95 for every percentile from there on, the
mean for the load.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = Floats | float

NORMAL_QUANTILE = {50: 0.0, 90: 1.2815515655446004, 95: 1.6448536269514722, 99: 2.3263478740408408}
PERCENTILES = (50, 90, 95, 99)

_Z = NORMAL_QUANTILE[95]
LARGEST_LOGNORMAL_RATIO = float(np.exp(_Z * _Z / 2.0))
"""P95 over mean that a lognormal distribution has at most (at sigma = z)."""
LARGEST_RATIO = 20.0
"""P95 over mean that any distribution of positive numbers has at most: 1 / (1 - 0.95)."""

# Of the lognormal with mean 1 and sigma = z: half of all tokens are above its P95, for E[X; X > P95] = Phi(z - z).
_TAIL_MEAN = 0.5 / 0.05
_SQUARE = float(np.exp(_Z * _Z))
_TAIL_SQUARE = 0.95 * _SQUARE / 0.05  # E[X^2; X > P95] = exp(z^2) Phi(2 z - z)
_BODY_SQUARE = 0.05 * _SQUARE


def lognormal_sigma(mean: Numbers, p95: Numbers) -> Floats:
    """Shape of the lognormal distribution with this mean and 95th percentile; 0 if the lengths are fixed.

    Notes
    -----
    ``p95 / mean = exp(z s - s^2 / 2)``, solved for the smaller s. The widest, s = z, belongs to a ratio of 3.87.

    >>> round(float(lognormal_sigma(512, 1024)), 3)
    0.496
    """
    inner = _Z * _Z - 2.0 * np.log(_ratio(mean, p95))
    found: Floats = _Z - np.sqrt(np.maximum(inner, 0.0))
    return found


def length_quantile(mean: Numbers, p95: Numbers, percentile: int) -> Floats:
    """Length at a percentile [tokens]; the 95th is the one stated.

    >>> round(float(length_quantile(600, 9000, 95))), round(float(length_quantile(600, 30000, 99)))
    (9000, 30000)
    """
    return at_deviate(mean, p95, NORMAL_QUANTILE[percentile])


def at_deviate(mean: Numbers, p95: Numbers, deviate: Numbers) -> Floats:
    """Length where the standard normal distribution has ``deviate`` [tokens]; drawn deviates give drawn lengths."""
    sigma = lognormal_sigma(mean, p95)
    lognormal = mean * np.exp(deviate * sigma - sigma * sigma / 2.0)
    ratio = _ratio(mean, p95)
    body, tail = _bent(ratio)
    above = p95 + tail * (lognormal - LARGEST_LOGNORMAL_RATIO * mean)
    bent = np.where(np.asarray(deviate) >= _Z, above, body * lognormal)
    found: Floats = np.where(ratio > LARGEST_LOGNORMAL_RATIO, bent, lognormal)
    return found


def squared_variation(mean: Numbers, p95: Numbers) -> Floats:
    """Squared coefficient of variation of the lengths.

    Notes
    -----
    ``exp(s^2) - 1`` of the lognormal; beyond it, from the second moments of the two parts. It never falls with the P95.

    >>> round(float(squared_variation(512, 512)), 3), round(float(squared_variation(1, 3.868)), 1)
    (0.0, 13.6)
    """
    sigma = lognormal_sigma(mean, p95)
    ratio = _ratio(mean, p95)
    body, tail = _bent(ratio)
    reach = np.minimum(ratio, LARGEST_RATIO)
    excess = _TAIL_MEAN - LARGEST_LOGNORMAL_RATIO
    of_excess = _TAIL_SQUARE - 2.0 * LARGEST_LOGNORMAL_RATIO * _TAIL_MEAN + LARGEST_LOGNORMAL_RATIO**2
    above = 0.05 * (reach * reach + 2.0 * reach * tail * excess + tail * tail * of_excess)
    bent = above + body * body * _BODY_SQUARE - 1.0 + np.maximum(ratio - LARGEST_RATIO, 0.0)
    found: Floats = np.where(ratio > LARGEST_LOGNORMAL_RATIO, bent, np.expm1(sigma * sigma))
    return found


def met_length(mean: Numbers, p95: Numbers) -> Floats:
    """Mean length of the requests that are being served at a moment: long ones stay longer [tokens].

    Notes
    -----
    ``E[X^2] / E[X] = mean x (1 + variation)``.
    """
    found: Floats = mean * (1.0 + squared_variation(mean, p95))
    return found


def _ratio(mean: Numbers, p95: Numbers) -> Floats:
    return np.maximum(p95 / np.maximum(mean, 1e-9), 1.0)


def _bent(ratio: Floats) -> tuple[Floats, Floats]:
    """Factors on the part below the P95, and on what those above exceed it by.

    Notes
    -----
    With x from 0 at the widest lognormal to 1 at the largest ratio, the excess shrinks by ``1 - x^2``: slowly enough
    for the variance and the P99 to rise all the way. Those above then hold a share of the tokens, and those below the
    rest instead of a half.
    """
    reach = np.clip(ratio, LARGEST_LOGNORMAL_RATIO, LARGEST_RATIO)
    tail = 1.0 - np.square((reach - LARGEST_LOGNORMAL_RATIO) / (LARGEST_RATIO - LARGEST_LOGNORMAL_RATIO))
    share = 0.05 * (reach + tail * (_TAIL_MEAN - LARGEST_LOGNORMAL_RATIO))
    return np.maximum(1.0 - share, 0.0) / 0.5, tail
