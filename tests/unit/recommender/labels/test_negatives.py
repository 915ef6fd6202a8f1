import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.interactions.schema import UTC_TIME
from tasks.recommender.labels.negatives import keep_negatives


def table(*labels: list[int]) -> pa.Table:
    slate = [n for n, own in enumerate(labels) for _ in own]
    return pa.table(
        {
            "event_time": pa.array([0] * len(slate), pa.int64()).cast(UTC_TIME),
            "impression_id": [f"s{n}" for n in slate],
            "item_id": [f"i{place}" for place in range(len(slate))],
            "label": pa.array([label for own in labels for label in own], pa.int8()),
        }
    )


def keep(rows, negatives=1, hardness=0.0, scores=None, seed=0):
    return keep_negatives(rows, scores, negatives=negatives, hardness=hardness, seed=seed)


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_every_click_stays_and_skips_by_the_ratio(labels, negatives, hardness):
    rows = table(*labels)
    scores = np.random.default_rng(1).random(len(rows)).round(1)
    kept = keep(rows, negatives, hardness, scores)
    ids = np.array(kept["impression_id"].to_pylist())
    label = kept["label"].to_numpy()
    for n, own in enumerate(labels):
        clicks, skips = sum(own), len(own) - sum(own)
        mine = label[ids == f"s{n}"]
        assert mine.sum() == clicks
        assert (mine == 0).sum() == min(skips, negatives * max(clicks, 1))


def test_hardness_one_keeps_what_the_start_ranks_highest():
    rows = table([0, 1, 0, 0, 0], [0, 0, 0])
    scores = np.array([0.3, 0.99, 0.5, 0.1, 0.4, 0.2, 0.9, 0.8])
    kept = keep(rows, 2, 1.0, scores)
    assert kept["item_id"].to_pylist() == ["i1", "i2", "i4", "i6", "i7"]


def test_equal_ranks_are_drawn_between_at_hardness_one():
    rows = table([1, 0, 0, 0])
    found = {
        tuple(keep(rows, 1, 1.0, np.full(4, 0.5), seed)["item_id"].to_pylist())
        for seed in range(30)
    }
    assert len(found) == 3


@pytest.mark.parametrize("hardness", [0.0, 0.5, 0.75])
def test_a_skip_is_drawn_by_its_rank_to_the_power_of_the_hardness(hardness):
    # 4,000 slates of four skips, each keeping one: places 1 to 4 by r ^ (−h / (1 − h)).
    rows = table(*[[1, 0, 0, 0, 0]] * 4000)
    scores = np.tile([0.5, 0.1, 0.4, 0.2, 0.3], 4000)
    kept = keep(rows, 1, hardness, scores)
    place = {1: 3, 2: 0, 3: 2, 4: 1}
    drawn = [place[int(item[1:]) % 5] for item in kept["item_id"].to_pylist() if int(item[1:]) % 5]
    expected = np.arange(1, 5.0) ** (-hardness / (1 - hardness))
    share = np.bincount(drawn, minlength=4) / 4000
    assert share == pytest.approx(expected / expected.sum(), abs=0.025)


def test_the_rows_keep_their_order_and_an_even_draw_asks_for_no_scores():
    rows = table([0, 0, 1, 0, 0, 0])
    kept = [int(item[1:]) for item in keep(rows, 3)["item_id"].to_pylist()]
    assert kept == sorted(kept)
    assert len(kept) == 4
