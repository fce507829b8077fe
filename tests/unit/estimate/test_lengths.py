"""Lengths with any ratio of P95 to mean."""

from __future__ import annotations

import numpy as np
import pytest

from inferplan.estimate.lengths import (
    LARGEST_LOGNORMAL_RATIO,
    PERCENTILES,
    at_deviate,
    length_quantile,
    lognormal_sigma,
    met_length,
    squared_variation,
)

DEVIATES = np.linspace(-9.0, 9.0, 400_001)
WEIGHTS = np.exp(-DEVIATES * DEVIATES / 2.0)
WEIGHTS /= WEIGHTS.sum()
"""The standard normal distribution, finely sliced."""


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0, 3.0, 3.8, 3.87, 3.9, 5.0, 8.0, 12.0, 16.0, 19.0, 20.0])
def test_lengths_have_the_mean_the_p95_and_the_variation_that_are_stated(ratio: float) -> None:
    lengths = at_deviate(100.0, 100.0 * ratio, DEVIATES)
    mean = float((lengths * WEIGHTS).sum())
    variance = float((np.square(lengths - mean) * WEIGHTS).sum())
    assert mean == pytest.approx(100.0, rel=1e-3)
    assert variance / mean**2 == pytest.approx(float(squared_variation(100.0, 100.0 * ratio)), rel=2e-3, abs=1e-9)
    for percentile in PERCENTILES:
        at = np.searchsorted(np.cumsum(WEIGHTS), percentile / 100.0 + 1e-6)
        assert lengths[at] == pytest.approx(
            float(length_quantile(100.0, 100.0 * ratio, percentile)), rel=1e-3, abs=1e-3
        )


def test_drawn_lengths_follow() -> None:
    drawn = at_deviate(100.0, 1_200.0, np.random.default_rng(7).standard_normal(400_000))
    assert drawn.mean() == pytest.approx(100.0, rel=0.02)
    assert np.percentile(drawn, 95) == pytest.approx(1_200.0, rel=0.02)


@pytest.mark.parametrize("ratio", [1.0, 2.0, 3.87, 12.0, 20.0, 33.0, 1_000_000.0])
def test_the_p95_is_the_one_stated_and_the_p99_no_shorter(ratio: float) -> None:
    assert float(length_quantile(600.0, 600.0 * ratio, 95)) == pytest.approx(600.0 * ratio)
    assert length_quantile(600.0, 600.0 * ratio, 99) >= length_quantile(600.0, 600.0 * ratio, 95) * (1 - 1e-12)


def test_up_to_its_widest_the_family_is_lognormal() -> None:
    for ratio in (1.0, 1.7, 3.0, LARGEST_LOGNORMAL_RATIO):
        sigma = float(lognormal_sigma(512.0, 512.0 * ratio))
        assert float(squared_variation(512.0, 512.0 * ratio)) == pytest.approx(np.expm1(sigma**2))
        assert float(at_deviate(512.0, 512.0 * ratio, 0.7)) == pytest.approx(512.0 * np.exp(0.7 * sigma - sigma**2 / 2))


@pytest.mark.parametrize("border", [LARGEST_LOGNORMAL_RATIO, 20.0])
def test_nothing_jumps_where_the_shape_changes(border: float) -> None:
    for percentile in (50, 95, 99):
        before, after = (
            float(length_quantile(100.0, 100.0 * border * (1 + side), percentile)) for side in (-1e-9, 1e-9)
        )
        assert after == pytest.approx(before, rel=1e-3, abs=1e-3)
    before, after = (float(squared_variation(100.0, 100.0 * border * (1 + side))) for side in (-1e-9, 1e-9))
    assert after == pytest.approx(before, rel=1e-3)


def test_variation_and_tail_grow_with_the_p95() -> None:
    ratios = np.linspace(1.0, 60.0, 600)
    assert np.all(np.diff(squared_variation(100.0, 100.0 * ratios)) > 0)
    assert np.all(np.diff(length_quantile(100.0, 100.0 * ratios, 99)) > 0)


def test_requests_met_at_work_are_longer_than_those_that_come() -> None:
    assert float(met_length(100.0, 100.0)) == 100.0
    # one in twenty has the P95 and no other counts: whoever is met is one of them
    assert float(met_length(100.0, 2_000.0)) == pytest.approx(2_000.0)
    assert float(met_length(100.0, 5_000.0)) == pytest.approx(5_000.0)
