from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.interactions.schema import UTC_TIME
from tasks.recommender.shots import count_impressions, select_shots, split_by_time


def slates(seconds: list[int], prefix: str = "s") -> pa.Table:
    """Two candidates for each impression, interleaved."""
    ids = [f"{prefix}{n}" for n in range(len(seconds))]
    times = pa.array([s * 1_000_000 for s in seconds] * 2, pa.int64()).cast(UTC_TIME)
    return pa.table(
        {"event_time": times, "impression_id": ids * 2, "item_id": ["a"] * 2 * len(ids)}
    )


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=40),
    st.floats(0, 0.4),
    st.floats(0, 0.5),
)
@settings(max_examples=60)
def test_every_part_is_later_than_the_one_before_and_impressions_stay_whole(times, share, held):
    try:
        split = split_by_time(slates(times), validation_share=share, holdout_share=held)
    except ModelError:
        return
    parts = [split.shots, split.validation, split.holdout]
    assert sum(len(part) for part in parts) == 2 * len(times)
    assert sum(count_impressions(part) for part in parts) == len(times)
    filled = [part["event_time"] for part in parts if len(part)]
    for earlier, later in pairwise(filled):
        assert pc.max(earlier).as_py() < pc.min(later).as_py()


def test_shares_are_shares_of_the_impressions():
    split = split_by_time(slates(list(range(20))), validation_share=0.15, holdout_share=0.3)
    sizes = [count_impressions(p) for p in (split.shots, split.validation, split.holdout)]
    assert sizes == [11, 3, 6]


def test_one_moment_leaves_no_shots_and_says_what_to_do():
    with pytest.raises(ModelError, match="validation_share"):
        split_by_time(slates([7, 7, 7]), validation_share=0.3, holdout_share=0.3)


def test_shots_are_counted_in_total_and_the_newest_of_the_day_are_taken():
    recent, replay = slates(list(range(10)), "r"), slates(list(range(10)), "p")
    shots = select_shots(recent, replay, shots=6, replay_share=0.5, seed=1)
    ids = set(shots["impression_id"].to_pylist())
    assert {"r7", "r8", "r9"} <= ids
    assert len(ids) == 6
    assert len(shots) == 12


def test_what_one_side_lacks_the_other_gives():
    few, many = slates([1, 2], "r"), slates(list(range(10)), "p")
    assert count_impressions(select_shots(few, many, shots=8, replay_share=0, seed=1)) == 8
    assert count_impressions(select_shots(many, few, shots=8, replay_share=0.9, seed=1)) == 8
    assert (
        count_impressions(select_shots(few, few.slice(0, 0), shots=8, replay_share=1, seed=1)) == 2
    )


def test_replay_does_not_hang_on_the_order_of_the_rows():
    recent, replay = slates([99], "r"), slates(list(range(30)), "p")
    shuffled = replay.take(pa.array(np.random.default_rng(0).permutation(len(replay))))
    first = select_shots(recent, replay, shots=8, replay_share=0.9, seed=3)
    second = select_shots(recent, shuffled, shots=8, replay_share=0.9, seed=3)
    assert set(first["impression_id"].to_pylist()) == set(second["impression_id"].to_pylist())
