"""Histories as the answers that they once were."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.interactions.schema import HISTORY, UTC_TIME
from tasks.recommender.context import Context
from tasks.recommender.slates import group_rows
from tasks.recommender.statistics import count_item_hours, counts_of, read_as_of
from tasks.recommender.unroll import unroll
from tests.unit.recommender.conftest import make_catalogue, make_rows

Entry = tuple[str, int]


def table(shots: list[tuple[str, str, str, int, list[Entry] | None]]) -> pa.Table:
    """Rows of (impression, user, item, label, history)."""
    when = pa.array([datetime(2026, 3, 1, 12, tzinfo=UTC)] * len(shots), UTC_TIME)
    histories = [
        None if shot[4] is None else [{"item_id": i, "label": label} for i, label in shot[4]]
        for shot in shots
    ]
    return pa.table(
        {
            "event_time": when,
            "impression_id": [shot[0] for shot in shots],
            "user_id": [shot[1] for shot in shots],
            "item_id": [shot[2] for shot in shots],
            "label": pa.array([shot[3] for shot in shots], pa.int8()),
            "history": pa.array(histories, HISTORY),
            "weight": pa.array([2.0] * len(shots)),
        }
    )


def told(rows: pa.Table) -> list[tuple[str, str, int, list[Entry]]]:
    return [
        (
            row["user_id"],
            row["item_id"],
            row["label"],
            [(entry["item_id"], entry["label"]) for entry in row["history"]],
        )
        for row in rows.to_pylist()
    ]


def test_three_entries_are_three_answers_each_after_those_before_it():
    shots = table([("s", "u", "x", 1, [("a", 1), ("b", 0), ("c", 1)])])
    rows = unroll(shots)
    assert told(rows) == [
        ("u", "a", 1, []),
        ("u", "b", 0, [("a", 1)]),
        ("u", "c", 1, [("a", 1), ("b", 0)]),
    ]
    assert rows.schema == shots.schema
    assert len(set(rows["impression_id"].to_pylist()) | {"s"}) == 4
    assert rows["weight"].to_pylist() == [2.0] * 3


def test_a_user_s_answer_counts_once_with_the_longest_history():
    shots = table(
        [
            ("s", "u", "x", 1, [("a", 1), ("b", 0)]),
            ("t", "u", "y", 0, [("c", 0), ("a", 1), ("b", 0)]),
            ("v", "other", "z", 0, [("a", 0)]),
        ]
    )
    assert told(unroll(shots)) == [
        ("u", "c", 0, []),
        ("u", "a", 1, [("c", 0)]),
        ("u", "b", 0, [("c", 0), ("a", 1)]),
        ("other", "a", 0, []),
    ]


def test_what_a_shot_judges_is_not_asked_again():
    shots = table(
        [
            ("s", "u", "x", 1, [("a", 0)]),
            ("t", "u", "y", 0, [("a", 0), ("x", 1)]),
            ("v", "other", "y", 0, [("x", 1)]),
        ]
    )
    assert [row[:2] for row in told(unroll(shots))] == [("u", "a"), ("other", "x")]


def test_likes_alone_slates_of_several_and_no_history_answer_nothing():
    likes = table([("s", "u", "x", 1, [("a", 1), ("b", 1)])])
    slate = table([("s", "u", "x", 1, [("a", 0)]), ("s", "u", "y", 0, [("a", 0)])])
    without = table([("s", "u", "x", 1, None), ("t", "u", "y", 1, [])])
    for shots in (likes, slate, without, likes.drop_columns("history"), likes.slice(0, 0)):
        rows = unroll(shots)
        assert len(rows) == 0
        assert rows.schema == shots.schema


def test_an_entry_without_an_answer_is_history_only():
    shots = table([("s", "u", "x", 1, [("a", None), ("b", 0)])])
    assert told(unroll(shots)) == [("u", "b", 0, [("a", None)])]


def test_an_unrolled_row_sees_no_statistics(tmp_path, ranker):
    rows = make_rows(20)
    shots = table([("s", "u", "i1", 1, [("i0", 1), ("i2", 0)])])
    hours = count_item_hours(rows)
    slates = group_rows(unroll(shots), None)
    ids = pa.array(make_catalogue()["item_id"].to_pylist())
    counts = counts_of(hours, ids)
    item = np.array([ids.index(name).as_py() for name in ("i0", "i2")])
    assert counts.seen[np.isin(counts.item, item)].sum() > 0
    assert not read_as_of(counts, item, slates.hour, half_life_hours=24.0).any()
    context = Context(make_catalogue(), hours, None, tmp_path)
    prepared = ranker.prepare(unroll(shots), context)
    blind = ranker.prepare(
        unroll(shots), Context(make_catalogue(), hours.slice(0, 0), None, tmp_path)
    )
    np.testing.assert_array_equal(prepared.features.behaviour, blind.features.behaviour)


ENTRIES = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1)), max_size=4)
SHOTS = st.lists(
    st.tuples(st.sampled_from(["u", "v"]), st.sampled_from("abcxyz"), st.integers(0, 1), ENTRIES),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(SHOTS, st.randoms(use_true_random=False))
def test_the_answers_do_not_hang_on_the_order_of_the_rows(shots, random):
    numbered = [(f"s{n}", *shot) for n, shot in enumerate(shots)]
    shuffled = list(numbered)
    random.shuffle(shuffled)
    ordered, other = unroll(table(numbered)), unroll(table(shuffled))
    by_id = [("impression_id", "ascending")]
    assert ordered.sort_by(by_id).equals(other.sort_by(by_id))
    pairs = [(user, item) for user, item, *_ in told(ordered)]
    assert len(pairs) == len(set(pairs))
    assert not set(pairs) & {(user, item) for user, item, *_ in shots}
