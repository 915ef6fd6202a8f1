from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tasks.errors import EvaluationError
from tasks.evaluation.debiased import (
    _weighted_pairs,
    debiased_auc_by_slate,
    debiased_impression_auc,
)
from tasks.evaluation.metrics import impression_auc
from tasks.evaluation.slates import group_slates

ROWS = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.7]), st.booleans(), st.sampled_from("abc")),
    min_size=1,
    max_size=12,
)


def test_worked_by_hand():
    # a: click at examination .5 counts 2 (as a skip −1), the skip above it 1; b: click 1, skip 1.
    # a pairs: (click, skip) 2·1, lost; (skip's weight 0). b pair: 1·1, won. Won 1 of 3.
    scores, clicked, ids = [0.9, 0.1, 0.8, 0.3], [0, 1, 1, 0], ["a", "a", "b", "b"]
    auc = debiased_impression_auc(scores, clicked, ids, [1.0, 0.5, 1.0, 0.5])
    assert auc == pytest.approx(1 / 3)
    assert debiased_impression_auc(scores, clicked, ids, [1.0, 0.5, 1.0, 0.5], cap=1) == 0.5


@pytest.mark.parametrize("scores", [[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [2.0, 2.0, 1.0]])
def test_both_sums_have_the_expectation_that_relevance_itself_has(scores):
    """All click patterns of one slate, weighted by their probability."""
    relevance, examined = np.array([0.2, 0.6, 0.5]), np.array([1.0, 0.5, 0.25])
    values, ids = np.array(scores), ["a"] * 3
    expected = np.zeros(2)
    for pattern in product([0, 1], repeat=3):
        probability = np.prod(np.where(pattern, relevance * examined, 1 - relevance * examined))
        weight = np.array(pattern) / examined
        sums = _weighted_pairs(values, group_slates(pattern, ids), weight, 1 - weight)
        expected += probability * np.array(sums).sum(axis=1)
    true = np.zeros(2)
    for i, j in product(range(3), repeat=2):
        if i != j:
            pair = relevance[i] * (1 - relevance[j])
            true += pair * np.array([(values[i] > values[j]) + 0.5 * (values[i] == values[j]), 1])
    np.testing.assert_allclose(expected, true, rtol=1e-12)


def test_it_ranks_the_better_scores_first_where_clicks_follow_the_position():
    rng = np.random.default_rng(0)
    num = 20_000
    relevance = 0.3 + 0.3 * rng.random((num, 4))
    examined = np.array([1, 0.5, 0.33, 0.25])
    # the layout puts what is irrelevant on top
    relevance = np.sort(relevance, axis=1)
    clicked = rng.random((num, 4)) < relevance * examined
    ids = np.repeat(np.arange(num), 4)
    weight = np.tile(examined, num)
    by_relevance, by_position = relevance.ravel(), weight
    by_clicks = [impression_auc(s, clicked.ravel(), ids) for s in (by_relevance, by_position)]
    assert by_clicks[1] > 0.5 > by_clicks[0], "clicks prefer what stands on top"
    debiased = [
        debiased_impression_auc(s, clicked.ravel(), ids, weight)
        for s in (by_relevance, by_position)
    ]
    drawn = rng.random((num, 4)) < relevance
    pairs = drawn[:, :, None] & ~drawn[:, None, :]
    true = (pairs & (relevance[:, :, None] > relevance[:, None, :])).sum() / pairs.sum()
    assert debiased[0] == pytest.approx(true, abs=0.02)
    assert debiased[1] == pytest.approx(1 - true, abs=0.02)


@given(ROWS)
def test_where_all_is_examined_it_is_the_auc_over_all_pairs_of_the_slates(rows):
    scores, clicked, ids = (np.array(column) for column in zip(*rows, strict=True))
    weights, aucs = [], []
    for slate in np.unique(ids):
        at = ids == slate
        if 0 < clicked[at].mean() < 1:
            weights.append(clicked[at].sum() * (~clicked[at]).sum())
            aucs.append(roc_auc_score(clicked[at], scores[at]))
    ones = np.ones(len(rows))
    if not weights:
        with pytest.raises(EvaluationError, match="leave no pairs"):
            debiased_impression_auc(scores, clicked, ids, ones)
        return
    expected = np.average(aucs, weights=weights)
    assert debiased_impression_auc(scores, clicked, ids, ones) == pytest.approx(expected)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_tells_nothing_and_reversed_scores_reflect_it(rows, random):
    rows = [*rows, (0.1, True, "z"), (0.2, False, "z")]
    examined = [0.5 + 0.5 * random.random() for _ in rows]
    order = random.sample(range(len(rows)), len(rows))
    scores, clicked, ids = (np.array(column) for column in zip(*rows, strict=True))
    weight = np.array(examined)
    click = clicked / weight
    slates = group_slates(clicked, ids)
    won, pairs = _weighted_pairs(scores, slates, click, 1 - click)
    shuffled = group_slates(clicked[order], ids[order])
    again = _weighted_pairs(scores[order], shuffled, click[order], 1 - click[order])
    np.testing.assert_allclose(again, (won, pairs), atol=1e-12)
    lost, same = _weighted_pairs(-scores, slates, click, 1 - click)
    np.testing.assert_allclose((lost, same), (pairs - won, pairs), atol=1e-12)


@pytest.mark.parametrize("examined", [[1.0], [1.0, 0.0], [1.0, np.nan]])
def test_examinations_that_cannot_be_divided_by_are_refused(examined):
    with pytest.raises(EvaluationError, match="2 rows that each need one above 0"):
        debiased_impression_auc([0.1, 0.2], [1, 0], ["a", "a"], examined)


def test_two_models_are_compared_slate_by_slate_and_the_mean_is_the_auc():
    scores, clicked, ids = [0.9, 0.1, 0.8, 0.3], [0, 1, 1, 0], ["a", "a", "b", "b"]
    slates = group_slates(clicked, ids)
    # a has 2 of the 3 pairs, and loses them; b has 1 and wins it: ½ ∓ pairs/2 · 2/3
    by_slate = debiased_auc_by_slate(scores, slates, [1.0, 0.5, 1.0, 0.5])
    np.testing.assert_allclose(by_slate, [1 / 2 - 2 / 3, 1 / 2 + 1 / 3])
    assert by_slate.mean() == pytest.approx(1 / 3)
