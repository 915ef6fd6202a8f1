import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.debiased import debiased_auc_by_slate
from tasks.evaluation.item_gains import gains_by_item
from tasks.evaluation.metrics import auc_by_slate
from tasks.evaluation.slates import group_slates, tie_runs


def listed(champion, challenger, clicked, impressions, items, examined=None):
    slates = group_slates(clicked, impressions)
    old, new = (tie_runs(np.asarray(scores, float), slates) for scores in (champion, challenger))
    return slates, gains_by_item(old, new, slates, items, examined=examined)


def test_the_gains_of_a_slate_worked_by_hand():
    # champion: a below b, tied with c; challenger: a above both
    _, found = listed([2, 3, 2], [9, 1, 1], [1, 0, 0], ["s"] * 3, ["a", "b", "c"])
    # pairs (a, b): 0 → 1, (a, c): ½ → 1; each pair weighs ½
    assert found.to_pylist() == [
        [
            {"item_id": "a", "gain": 0.75, "weight": 1.0},
            {"item_id": "b", "gain": 0.5, "weight": 0.5},
            {"item_id": "c", "gain": 0.25, "weight": 0.5},
        ]
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_clicks_and_skips_each_add_up_to_the_slates_gain_in_any_order_of_rows(seed):
    rng = np.random.default_rng(seed)
    impressions = np.repeat(np.arange(20), rng.integers(1, 6, 20)).astype(str)
    size = len(impressions)
    clicked, items = rng.random(size) < 0.4, rng.integers(0, 9, size).astype(str)
    scores = [rng.integers(0, 4, size) for _ in range(2)]
    shuffled = rng.permutation(size)
    columns = [column[shuffled] for column in (*scores, clicked, impressions, items)]
    slates, found = listed(*columns)
    gain = auc_by_slate(columns[1], slates) - auc_by_slate(columns[0], slates)
    for slate, each in enumerate(found.to_pylist()):
        if not slates.ranks[slate]:
            assert each is None
            continue
        chosen = slates.slate == slate
        assert sorted(row["item_id"] for row in each) == sorted(columns[4][chosen])
        assert sum(row["gain"] for row in each) == pytest.approx(2 * gain[slate], abs=1e-6)
        assert sum(row["weight"] for row in each) == pytest.approx(2)


def test_against_relevance_the_rows_of_a_slate_add_up_to_twice_its_part_of_the_gain():
    rng = np.random.default_rng(3)
    impressions = np.repeat(np.arange(30), 4).astype(str)
    clicked, examined = rng.random(120) < 0.4, np.tile([1.0, 0.5, 0.3, 0.2], 30)
    scores = [rng.integers(0, 5, 120).astype(float) for _ in range(2)]
    slates, found = listed(*scores, clicked, impressions, impressions, examined)
    old, new = (debiased_auc_by_slate(score, slates, examined) for score in scores)
    sums = [sum(row["gain"] for row in each) for each in found.to_pylist()]
    assert sums == pytest.approx(2 * (new - old), abs=1e-5)
    weights = [row["weight"] for each in found.to_pylist() for row in each]
    assert sum(weights) == pytest.approx(2 * 30)
