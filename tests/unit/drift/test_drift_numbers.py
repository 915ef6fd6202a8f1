import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift.numbers import KLL_K, Numbers, combine, cut, describe
from tasks.drift.quantiles import Quantiles

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


def described(values: list[float] | np.ndarray) -> Numbers:
    return describe(np.asarray(values, np.float64), len(values))


@given(VALUES, VALUES)
def test_moments_and_few_values_are_exact(first: list[float], second: list[float]) -> None:
    both = combine([described(first), described(second)])
    every = np.array(first + second)

    assert both.sketch.n == both.units == len(every)
    assert both.mean == pytest.approx(every.mean(), abs=1e-6)
    assert both.squares == pytest.approx(every @ every)
    assert both.share_error == 0
    assert both.sketch.quantiles([0.5]) in every


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 99), st.sampled_from([0.05, 0.5, 0.99]))
def test_ranks_of_merged_days_are_within_the_guarantee(seed: int, rank: float) -> None:
    draw = np.random.default_rng(seed)
    days = [draw.lognormal(seed % 3, 1, 20_000) for _ in range(5)]
    parts = [described(day) for day in days]
    for merged in (combine(parts), combine([parts[4], combine(parts[:2]), combine(parts[2:4])])):
        every = np.sort(np.concatenate(days))
        found = np.searchsorted(every, merged.sketch.quantiles([rank])[0]) / len(every)
        # 0.34 % at 99 %
        assert abs(found - rank) < 0.006
        assert len(merged.sketch.serialize()) < 25_000


def test_a_share_between_deciles_is_off_by_its_standard_error() -> None:
    draw, tenths = np.random.default_rng(3), np.linspace(0.1, 0.9, 9)
    weeks = []
    for _ in range(20):
        days = [draw.lognormal(3, 1, 15_000) for _ in range(7)]
        week = combine([described(day) for day in days])
        deciles = np.quantile(np.concatenate(days), tenths).tolist()
        weeks.append(week.sketch.shares_below(deciles, inclusive=False) - tenths)
    assert 0.5 * week.share_error < np.diff(weeks, axis=1).std() < 1.2 * week.share_error


def test_what_is_not_finite_is_left_out() -> None:
    some = described([1.0, math.nan, math.inf, 3.0])
    assert (some.sketch.n, some.mean) == (2, 2.0)
    assert math.isnan(described([math.nan]).mean)


def test_a_sketch_survives_its_bytes() -> None:
    some = described(np.random.default_rng(1).normal(size=5 * KLL_K))
    again = Quantiles.deserialize(some.sketch.serialize())
    assert again.serialize() == some.sketch.serialize()
    assert again.quantiles([0.3]) == some.sketch.quantiles([0.3])
    with pytest.raises(ValueError, match="in place of"):
        Quantiles.deserialize(some.sketch.serialize()[:-8])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 99), st.integers(1, 6))
def test_the_same_values_give_the_same_bytes_and_every_value_keeps_its_weight(
    seed: int, parts: int
) -> None:
    values = np.random.default_rng(seed).normal(size=9 * KLL_K)
    first, second = (
        combine([described(part) for part in np.array_split(values, parts)]) for _ in range(2)
    )
    assert first.sketch.serialize() == second.sketch.serialize()
    assert first.sketch.n == len(values)
    assert first.sketch.shares_below([np.inf], inclusive=True) == 1


def test_groups_are_equally_large_in_the_reference() -> None:
    groups = cut(described(np.arange(100.0)), described(np.arange(50.0)), 4)

    assert groups.before == pytest.approx([0.25] * 4, abs=0.02)
    assert groups.now == pytest.approx([0.5, 0.5, 0, 0], abs=0.03)
    assert groups.labels[0] == "below 25" and groups.labels[-1] == "above 75"


def test_a_value_that_fills_a_group_stands_alone() -> None:
    groups = cut(described([10.0] * 90 + [20.0] * 10), described([10.0, 5.0, 12.0, 20.0]), 10)

    shares = dict(zip(groups.labels, groups.now.tolist(), strict=True))
    assert dict(zip(groups.labels, groups.before.tolist(), strict=True))["10"] == pytest.approx(0.9)
    assert (shares["below 10"], shares["10"]) == (0.25, 0.25)


@given(VALUES, VALUES, st.integers(2, 12))
def test_shares_of_groups_add_up(first: list[float], second: list[float], parts: int) -> None:
    groups = cut(described(first), described(second), parts)
    assert groups.before.sum() == pytest.approx(1)
    assert groups.now.sum() == pytest.approx(1)
    assert len(groups.labels) == len(groups.before) == len(groups.now)
    assert min(groups.before.min(), groups.now.min()) >= 0
