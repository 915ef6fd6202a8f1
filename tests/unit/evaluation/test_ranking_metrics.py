import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from tasks.errors import EvaluationError
from tasks.evaluation.metrics import (
    auc_by_slate,
    impression_auc,
    measure,
    mrr,
    ndcg_at,
    pooled_auc,
)
from tasks.evaluation.slates import group_slates


@st.composite
def slates(draw):
    """Rows of up to six slates with few distinct scores, so that ties abound; one slate ranks."""
    num_rows = draw(st.integers(2, 30))
    column = {"min_size": num_rows - 2, "max_size": num_rows - 2}
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]), **column))
    clicked = draw(st.lists(st.booleans(), **column))
    ids = draw(st.lists(st.sampled_from("abcdef"), **column))
    return (
        np.array([*scores, draw(st.sampled_from([0.1, 0.5])), 0.25]),
        np.array([*clicked, True, False]),
        np.array([*ids, "z", "z"]),
    )


def test_impression_auc_worked_by_hand():
    # a: clicks .9 .3, skips .5 .1: pairs won .9>.5, .9>.1, .3>.1 = 3 of 4
    # b: click .2, skips .2 .7: one tie, one loss = 0.5 of 2
    scores = [0.9, 0.5, 0.3, 0.1, 0.2, 0.2, 0.7]
    clicked = [1, 0, 1, 0, 1, 0, 0]
    ids = ["a", "a", "a", "a", "b", "b", "b"]
    assert impression_auc(scores, clicked, ids) == pytest.approx((3 / 4 + 1 / 4) / 2)


def test_slates_weigh_equally_however_long():
    scores = [1, 0] + [0, 1] + [0.5] * 8
    clicked = [1, 0] + [1, 0] + [1] + [0] * 7
    ids = ["won"] * 2 + ["lost"] * 2 + ["tied, and long"] * 8
    assert impression_auc(scores, clicked, ids) == pytest.approx((1 + 0 + 0.5) / 3)


def test_a_slate_that_ranks_nothing_is_left_out():
    scores = [0.9, 0.1, 0.5, 0.6, 0.7, 0.8]
    clicked = [1, 0, 1, 1, 0, 0]
    ids = ["ranks", "ranks", "all clicked", "all clicked", "none clicked", "none clicked"]
    assert impression_auc(scores, clicked, ids) == 1.0
    by_slate = auc_by_slate(scores, group_slates(clicked, ids))
    assert np.isnan(by_slate).tolist() == [True, True, False], "in the order of sorted ids"
    assert measure(scores, clicked, ids).impressions == 1


def test_when_no_slate_ranks_the_error_says_what_to_do():
    with pytest.raises(EvaluationError, match=r"none of the 2 slates .* Widen the holdout"):
        impression_auc([0.1, 0.2], [1, 0], ["a", "b"])
    with pytest.raises(EvaluationError, match="none of the 1 slates"):
        pooled_auc([0.1, 0.2], [1, 1])


def test_mrr_is_minds_the_mean_over_all_clicks():
    # ranks by score: click 1st, skip 2nd, click 3rd, skip 4th: (1 + 1/3) / 2
    assert mrr([0.9, 0.5, 0.3, 0.1], [1, 0, 1, 0], ["a"] * 4) == pytest.approx((1 + 1 / 3) / 2)


def test_ndcg_worked_by_hand():
    # clicks at ranks 2 and 4; ideal at ranks 1 and 2
    scores, clicked, ids = [0.9, 0.8, 0.7, 0.6], [0, 1, 0, 1], ["a"] * 4
    ideal = 1 / math.log2(2) + 1 / math.log2(3)
    at_3 = 1 / math.log2(3)
    assert ndcg_at(3, scores, clicked, ids) == pytest.approx(at_3 / ideal)
    assert ndcg_at(4, scores, clicked, ids) == pytest.approx((at_3 + 1 / math.log2(5)) / ideal)
    # with room for one, one click is all that can be had
    assert ndcg_at(1, [0.9, 0.8, 0.7], [1, 1, 0], ["a"] * 3) == 1.0


def test_a_tie_counts_at_its_mean_over_all_orders_and_not_in_the_order_of_the_file():
    # one click tied with one skip: rank 1 or rank 2, each half of the time
    for clicked in ([1, 0], [0, 1]):
        assert mrr([0.5, 0.5], clicked, ["a", "a"]) == pytest.approx((1 + 1 / 2) / 2)
        assert ndcg_at(1, [0.5, 0.5], clicked, ["a", "a"]) == pytest.approx(1 / 2)


@given(slates(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_tells_nothing(rows, random):
    scores, clicked, ids = rows
    shuffled = list(range(len(scores)))
    random.shuffle(shuffled)
    before = measure(scores, clicked, ids).to_json()
    after = measure(scores[shuffled], clicked[shuffled], ids[shuffled]).to_json()
    assert after == pytest.approx(before, abs=1e-12)


@given(slates())
def test_reversing_the_scores_reflects_the_auc(rows):
    scores, clicked, ids = rows
    reversed_auc = impression_auc(-scores, clicked, ids)
    assert reversed_auc == pytest.approx(1 - impression_auc(scores, clicked, ids))
    assert pooled_auc(-scores, clicked) == pytest.approx(1 - pooled_auc(scores, clicked))


@given(slates())
def test_ranking_metrics_keep_to_their_range_and_ignore_monotone_scales(rows):
    scores, clicked, ids = rows
    for metric in (impression_auc, mrr, lambda *r: ndcg_at(5, *r)):
        assert 0 <= metric(scores, clicked, ids) <= 1
        assert metric(np.exp(3 * scores), clicked, ids) == metric(scores, clicked, ids)


@given(slates())
def test_aucs_agree_with_scikit_learn(rows):
    scores, clicked, ids = rows
    by_hand = [
        roc_auc_score(clicked[ids == slate], scores[ids == slate])
        for slate in np.unique(ids)
        if 0 < clicked[ids == slate].mean() < 1
    ]
    assert impression_auc(scores, clicked, ids) == pytest.approx(np.mean(by_hand))
    assert pooled_auc(scores, clicked) == pytest.approx(roc_auc_score(clicked, scores))


@given(slates(), st.integers(1, 12))
def test_ndcg_agrees_with_scikit_learn_whose_ties_are_averaged_too(rows, k):
    scores, clicked, ids = rows
    by_hand = [
        ndcg_score([clicked[ids == slate]], [scores[ids == slate]], k=k)
        for slate in np.unique(ids)
        if 0 < clicked[ids == slate].mean() < 1
    ]
    assert ndcg_at(k, scores, clicked, ids) == pytest.approx(np.mean(by_hand))


def test_columns_may_be_arrow_chunked_dictionary_or_numpy():
    scores, clicked, ids = [0.9, 0.1, 0.2, 0.3], [1, 0, 1, 0], ["b", "b", "a", "a"]
    chunked = pa.chunked_array([ids[:1], ids[1:]])
    expected = impression_auc(scores, clicked, ids)
    assert expected == 0.5
    for column in (chunked, chunked.dictionary_encode(), np.array(ids), pa.array([7, 7, 3, 3])):
        assert impression_auc(pa.array(scores), pa.array(clicked, pa.int8()), column) == expected


@pytest.mark.parametrize(
    ("scores", "clicked", "ids", "message"),
    [
        ([], [], [], "no rows to judge"),
        ([0.1, math.nan], [1, 0], ["a", "a"], "1 of 2 scores are NaN or infinite"),
        ([0.1, math.inf], [1, 0], ["a", "a"], "1 of 2 scores are NaN or infinite"),
        ([0.1], [1, 0], ["a", "a"], "do not fit 2 rows"),
        ([0.1, 0.2], [1, 2], ["a", "a"], "A label is .*2.*, and only 0"),
        ([0.1, 0.2], [1, 0], ["a", None], "1 of 2 rows have no impression_id"),
        ([0.1, 0.2], [1, 0], ["a"], "not the same rows"),
    ],
)
def test_rows_that_cannot_be_judged_are_named(scores, clicked, ids, message):
    with pytest.raises(EvaluationError, match=message):
        impression_auc(scores, clicked, pa.array(ids, pa.string()))
