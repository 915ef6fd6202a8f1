from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.interactions.schema import ITEM_HOURS, UTC_TIME
from tasks.recommender.statistics import (
    Counts,
    count_item_hours,
    counts_of,
    read_as_of,
    smoothed_logit,
)

T0 = datetime(2026, 3, 1, 10, tzinfo=UTC)
ENTRIES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 20), st.floats(0, 1, width=32)),
    max_size=30,
)
QUERIES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 45)), min_size=1, max_size=10)


def counts(entries: list[tuple[int, int, int, float]]) -> Counts:
    item, hour, shown, share = np.array(entries, float).reshape(-1, 4).T
    seen = np.stack([shown, np.floor(shown * share)], axis=1)
    return Counts(item.astype(np.int64), hour.astype(np.int64), seen, 4)


def naive(found: Counts, item: int, hour: int, half_life: float) -> np.ndarray:
    total = np.zeros(2)
    for i, h, seen in zip(found.item, found.hour, found.seen, strict=True):
        if i == item and h + 1 <= hour:
            total += seen * 2.0 ** (-(hour - (h + 1)) / half_life)
    return total


@given(ENTRIES, QUERIES, st.sampled_from([1.0, 24.0]))
def test_reading_as_of_agrees_with_adding_up_one_by_one(entries, queries, half_life):
    found = counts(entries)
    item, hour = np.array(queries).T
    read = read_as_of(found, item, hour, half_life_hours=half_life)
    expected = [naive(found, i, h, half_life) for i, h in queries]
    np.testing.assert_allclose(read, expected, rtol=1e-9, atol=1e-12)


@given(ENTRIES, QUERIES, ENTRIES)
@settings(max_examples=50)
def test_the_running_hour_and_the_future_are_never_seen(entries, queries, later):
    item, hour = np.array(queries).T
    before = [entry for entry in entries if entry[1] < hour.min()]
    future = [(i, h + int(hour.max()), shown, share) for i, h, shown, share in later]
    read = read_as_of(counts(before), item, hour, half_life_hours=24)
    np.testing.assert_array_equal(
        read, read_as_of(counts([*before, *future]), item, hour, half_life_hours=24)
    )


def test_an_hour_counts_in_full_when_it_has_just_ended_and_half_after_a_half_life():
    # 8 shown and 2 clicked in hour 10: at hour 11 all of it, 24 hours later half of it.
    found = counts([(0, 10, 8, 0.25)])
    read = read_as_of(found, np.array([0, 0, 0]), np.array([10, 11, 35]), half_life_hours=24)
    np.testing.assert_allclose(read, [[0, 0], [8, 2], [4, 1]])


def test_hours_are_counted_by_item_and_source_day():
    times = [T0, T0 + timedelta(minutes=59), T0 + timedelta(hours=1)]
    counted = count_item_hours(
        pa.table(
            {
                "event_time": pa.array(times, UTC_TIME),
                "event_date": pa.array([t.date() for t in times], pa.date32()),
                "item_id": ["a", "a", "a"],
                "label": pa.array([1, 0, 1], pa.int8()),
            }
        )
    )
    assert counted.schema == ITEM_HOURS
    assert counted["impressions"].to_pylist() == [2, 1]
    assert counted["clicks"].to_pylist() == [1, 1]


def test_counts_of_unknown_items_are_left_out():
    hours = pa.table(
        {
            "event_date": pa.array([T0.date()] * 2, pa.date32()),
            "hour": pa.array([T0] * 2, UTC_TIME),
            "item_id": ["a", "b"],
            "impressions": [5, 7],
            "clicks": [1, 2],
        }
    ).cast(ITEM_HOURS)
    found = counts_of(hours, pa.array(["b", "c"]))
    assert found.item.tolist() == [0]
    assert found.seen.tolist() == [[7, 2]]


def test_nothing_seen_is_the_prior():
    logit = smoothed_logit(np.zeros((1, 2)), 0.2, strength=30)
    assert logit[0] == pytest.approx(np.log(0.2 / 0.8))
