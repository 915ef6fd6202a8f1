"""The contest over accumulated evidence, and the interval that decides."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tasks.errors import EvaluationError
from tasks.evaluation.bar import Bar, challenger_level
from tasks.evaluation.clusters import studentised_interval, sums_by_user
from tasks.evaluation.contest import contest_of
from tasks.evaluation.gate import decide

BAR = Bar(min_gain=0.002, level=1 / 365, min_impressions=100, looks=8)
FIRST = date(2026, 3, 2)


def evidence(rng, days=3, slates=400, users=150, gain=0.02, of_item=0.0, first=FIRST):
    """Slates of readers who come back, one candidate in each listed; every fifth ranks nothing."""
    tables = []
    shift = of_item * rng.normal(size=40)
    for day in range(days):
        item = rng.integers(0, 40, slates)
        old = rng.uniform(0.3, 0.7, slates)
        new = old + gain + shift[item] + 0.1 * rng.normal(size=slates)
        ranks = np.arange(slates) % 5 > 0
        items = [
            [{"item_id": f"n{i}", "gain": g, "weight": 1.0}] if r else None
            for i, g, r in zip(item, new - old, ranks, strict=True)
        ]
        tables.append(
            pa.table(
                {
                    "day": pa.array([first + timedelta(days=day)] * slates),
                    "user_id": [f"u{u}" for u in rng.integers(0, users, slates)],
                    "champion_auc": pa.array(old, mask=~ranks),
                    "challenger_auc": pa.array(new, mask=~ranks),
                    "items": items,
                }
            )
        )
    return pa.concat_tables(tables)


def without_items(table):
    return table.drop_columns("items")


def test_the_gain_is_the_mean_over_slates_that_rank_on_all_days():
    table = evidence(np.random.default_rng(1))
    found = contest_of(table, BAR)
    judged = table.filter(table["challenger_auc"].is_valid()).to_pandas()
    assert found.impressions == 960
    assert found.users == judged["user_id"].nunique()
    assert found.looks == 3
    assert found.champion_auc == pytest.approx(judged["champion_auc"].mean())
    assert found.gain == pytest.approx((judged["challenger_auc"] - judged["champion_auc"]).mean())
    assert found.low < found.gain < found.high


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(2)
    table = evidence(rng)
    shuffled = table.take(pa.array(rng.permutation(table.num_rows)))
    one, other = contest_of(table, BAR), contest_of(shuffled, BAR)
    assert (other.low, other.gain, other.high) == pytest.approx((one.low, one.gain, one.high))


def test_one_day_of_many_users_reaches_as_far_as_the_normal_at_the_looks_part_of_the_level():
    table = without_items(evidence(np.random.default_rng(3), days=1, slates=20_000, users=15_000))
    found = contest_of(table, BAR)
    below = (found.gain - found.low) / found.standard_error
    above = (found.high - found.gain) / found.standard_error
    assert below == pytest.approx(norm.isf(BAR.level / 8), rel=0.02)
    assert above == pytest.approx(norm.isf((0.05 - BAR.level) / 8), rel=0.02)
    assert found.confidence == pytest.approx(0.95)


def test_one_look_agrees_with_the_bootstrap_of_the_same_day():
    rng = np.random.default_rng(10)
    size = 1_200
    table = without_items(evidence(rng, days=1, slates=size, users=500, gain=0.1))
    judged = table.filter(table["challenger_auc"].is_valid())
    gains = judged["challenger_auc"].to_numpy() - judged["champion_auc"].to_numpy()
    by_user = sums_by_user(gains, np.unique(judged["user_id"], return_inverse=True)[1])
    low, high = studentised_interval(*by_user, confidence=0.95, resamples=2000, seed=1)
    found = contest_of(table, replace(BAR, level=0.025, looks=1))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_more_looks_reach_further_than_one():
    table = evidence(np.random.default_rng(4), days=1)
    once, often = contest_of(table, replace(BAR, looks=1)), contest_of(table, BAR)
    assert often.low < once.low < once.high < often.high


def test_days_before_there_were_enough_slates_are_no_looks():
    table = evidence(np.random.default_rng(5), days=4, slates=40)
    # 32 slates a day rank: 100 are reached on the fourth day
    assert contest_of(table, BAR).looks == 1
    assert contest_of(table, replace(BAR, min_impressions=60)).looks == 3


def test_after_the_last_look_nothing_can_be_shown():
    table = evidence(np.random.default_rng(6), gain=0.3)
    assert decide(contest_of(table, replace(BAR, looks=3)), BAR).decision == "promote"
    late = contest_of(table, replace(BAR, looks=2))
    assert (late.low, late.high) == (-1, 1)
    assert decide(late, BAR).decision == "not enough evidence"


def test_what_an_item_does_in_every_slate_is_error_of_the_gain():
    """The gain over items to come: 40 items that err by 0.1 each leave 0.1/√40, however many slates."""
    table = evidence(np.random.default_rng(7), slates=8_000, users=6_000, of_item=0.1)
    blind, aware = contest_of(without_items(table), BAR), contest_of(table, BAR)
    assert blind.standard_error < 0.002
    assert aware.standard_error == pytest.approx(0.1 / np.sqrt(40), rel=0.25)
    assert aware.low < blind.low


def test_items_that_share_nothing_add_nothing():
    table = evidence(np.random.default_rng(8), slates=4_000, users=3_000)
    blind, aware = contest_of(without_items(table), BAR), contest_of(table, BAR)
    assert aware.standard_error == pytest.approx(blind.standard_error, rel=0.25)


def test_two_equal_models_have_an_interval_of_zero_and_are_told_apart_by_nobody():
    table = without_items(evidence(np.random.default_rng(9)))
    same = table.set_column(3, "challenger_auc", table["champion_auc"])
    found = contest_of(same, BAR)
    assert (found.low, found.gain, found.high) == (0, 0, 0)
    assert decide(found, replace(BAR, min_gain=0.0)).decision == "reject"


def test_a_first_day_without_any_difference_does_not_upset_the_days_after_it():
    rng = np.random.default_rng(11)
    table = without_items(evidence(rng, days=2, slates=3_000, users=2_000))
    first = table["day"].to_numpy() == np.datetime64(FIRST)
    new = np.where(first, table["champion_auc"], table["challenger_auc"])
    calm = table.set_column(3, "challenger_auc", pa.array(new, from_pandas=True))
    found = contest_of(calm, BAR)
    below = (found.gain - found.low) / found.standard_error
    assert below == pytest.approx(norm.isf(BAR.level / 8), rel=0.05)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.001, 0.02), st.floats(0.001, 0.02))
def test_a_smaller_level_never_promotes_what_a_larger_one_did_not(seed, one, other):
    table = evidence(np.random.default_rng(seed), slates=60, gain=0.03)
    strict, mild = (contest_of(table, replace(BAR, level=v)) for v in sorted((one, other)))
    assert strict.low <= mild.low + 1e-12


def test_the_year_is_spent_in_equal_parts():
    assert 365 * challenger_level(2.0) == pytest.approx(2.0)


def crossings(level, **world):
    """Share of challengers without a gain that any of three looks promotes, of 200."""
    bar = Bar(0.0, level, 50, looks=3)
    rng = np.random.default_rng(12)
    promoted = 0
    for _ in range(200):
        table = evidence(rng, slates=60, gain=0.0, **world)
        days = sorted(set(table["day"].to_pylist()))
        for day in days:
            so_far = table.filter(pa.compute.less_equal(table["day"], day))
            if decide(contest_of(so_far, bar), bar).decision == "promote":
                promoted += 1
                break
    return promoted / 200


@pytest.mark.parametrize("world", [{"users": 30}, {"of_item": 0.1, "users": 60}])
def test_challengers_without_a_gain_go_live_no_more_often_than_the_level_over_all_looks(world):
    # three standard deviations of a share of 0.1 in 200 are 0.064
    assert crossings(0.1, **world) <= 0.164


def test_evidence_that_cannot_be_judged_is_refused():
    table = evidence(np.random.default_rng(1), days=1)
    with pytest.raises(EvaluationError, match="none of the 80 slates holds both"):
        contest_of(table.filter(table["challenger_auc"].is_null()), BAR)
    alone = table.set_column(1, "user_id", pa.array(["u"] * table.num_rows))
    with pytest.raises(EvaluationError, match="needs at least two users"):
        contest_of(alone, BAR)
