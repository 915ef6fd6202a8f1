"""Drift's part of `benchmarks/decisions.py` on a few small days, so that it works when it is run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import decisions_drift
    import drift_histories

    def drawn(titles: Any) -> Any:
        return np.random.default_rng(len(titles)).normal(size=(len(titles), 8)).astype("f4")

    monkeypatch.setattr(drift_histories, "title_vectors", drawn)
    return decisions_drift


def test_a_stationary_history_counts_its_alarms(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "DAYS", 3)
    assert benchmark.alarms_of(1_000, 10_000) == 0


def test_each_shift_is_planted_on_its_days_and_nothing_of_it_stays(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "SHIFTED_ROWS", 1_000)
    monkeypatch.setattr(benchmark, "PLANTED_ON", range(2, 4))
    monkeypatch.setattr(benchmark, "GRADUAL_FROM", (3,))
    monkeypatch.setattr(benchmark, "WITHIN_DAYS", 2)
    shifted = benchmark.shifts_of(10_000)
    assert {name: len(found) for name, found in shifted.found.items()} == dict.fromkeys(
        benchmark.SHIFTS, 2
    )
    assert shifted.slowly == [None]


def test_a_planted_shift_is_in_the_day_and_not_in_the_next(benchmark):
    from drift_histories import Portal

    portal = Portal(10_000, 400)
    portal.live()
    plain, moved = (
        portal.profile(portal.world_with(**shift)) for shift in ({}, {"click_rate": 1.0})
    )
    assert moved.clicks > 1.8 * plain.clicks
    other = portal.branch()
    other.live(click_rate=1.0)
    assert (len(portal.profiles), len(other.profiles)) == (1, 2)
    assert portal.live().columns and portal.profiles[-1].clicks == plain.clicks


def test_larger_days_show_the_same_slates_again_with_clicks_of_their_own(benchmark, monkeypatch):
    import drift_histories

    monkeypatch.setattr(drift_histories, "MOST_SLATES", 100)
    portal = drift_histories.Portal(10_000, 300)
    portal.live()
    (profile,) = portal.profiles
    assert profile.impressions == pytest.approx(330, abs=5)
    assert profile.mixes["item"].rows.min() >= 3


def test_an_expected_number_has_the_interval_of_the_table(benchmark):
    assert benchmark.poisson_interval(0) == pytest.approx((0.0, 3.689), abs=0.001)
    assert benchmark.poisson_interval(3) == pytest.approx((0.619, 8.767), abs=0.001)
