from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from tasks.errors import ModelError
from tasks.interactions.schema import HISTORY
from tasks.recommender.context import Context
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.learning.objectives import listwise
from tasks.recommender.losses import slate_aucs
from tasks.recommender.recipe import Lora
from tasks.recommender.score import score
from tests.unit.recommender.conftest import make_rows


def test_without_shots_candidates_are_ranked_by_text_match_alone(ranker, rows, context):
    prepared = ranker.prepare(rows, context)
    vectors = prepared.items.vectors
    slates = prepared.slates
    liked = vectors[slates.history[slates.slate]]
    cosine = np.einsum("nhd,nd->nh", liked, vectors[slates.candidate])
    expected = 5 * cosine.mean(1) + 1.5 * cosine.max(1) + 1.5 * cosine[:, :10].mean(1) - 0.8
    expected = 1 / (1 + np.exp(-(expected + np.log(0.05 / 0.95))))
    np.testing.assert_allclose(score(ranker, rows, context), expected, rtol=1e-4)


def test_a_fresh_adapter_changes_no_embedding(ranker: HybridRanker):
    texts = ["goal match", "bank"]
    plain = ranker.encoder.encode(texts)
    ranker.encoder.start_training(Lora(rank=4, alpha=8), None, seed=1)
    np.testing.assert_array_equal(ranker.encoder.encode(texts), plain)


def test_scores_follow_the_order_of_the_rows(ranker, rows, context):
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = score(ranker, rows.take(pa.array(order)), context)
    np.testing.assert_allclose(shuffled, score(ranker, rows, context)[order], rtol=1e-5)


def test_parts_of_the_rows_score_as_the_whole(ranker, rows, context, monkeypatch):
    whole = score(ranker, rows, context)
    monkeypatch.setattr("tasks.recommender.hybrid.ROWS_AT_ONCE", 50)
    np.testing.assert_allclose(score(ranker, rows, context), whole, rtol=1e-5)


def test_scores_do_not_look_at_labels_or_at_anything_after_the_last_full_hour(
    ranker, rows, context
):
    early = rows.slice(0, 60)
    flipped = early.set_column(
        early.column_names.index("label"), "label", pc.subtract(1, early["label"])
    )
    hours = context.item_hours
    start = pc.floor_temporal(pc.max(early["event_time"]), unit="hour")
    past = replace(context, item_hours=hours.filter(pc.less(hours["hour"], start)))
    np.testing.assert_array_equal(
        score(ranker, early, context), score(ranker, flipped.drop_columns("label"), past)
    )


def test_a_cold_user_and_an_unknown_item_get_the_neutral_score(ranker, rows, context):
    first = rows.slice(0, 6)
    strange = first.set_column(
        first.column_names.index("item_id"), "item_id", pa.array(["never heard of"] * 6)
    )
    cold = first.set_column(
        first.column_names.index("history"), "history", pa.array([[]] * 6, HISTORY)
    )
    neutral = np.full(6, 0.05)
    np.testing.assert_allclose(score(ranker, strange, context), neutral, rtol=1e-5)
    np.testing.assert_allclose(score(ranker, cold, context), neutral, rtol=1e-5)


def test_a_day_without_any_statistics_or_catalogue_is_scored(ranker, rows, tmp_path):
    nothing = Context(
        pa.table({"item_id": pa.array([], pa.string()), "title": pa.array([], pa.string())}),
        pa.table(
            {
                "event_date": pa.array([], pa.date32()),
                "hour": pa.array([], pa.timestamp("us", tz="UTC")),
                "item_id": pa.array([], pa.string()),
                "impressions": pa.array([], pa.int64()),
                "clicks": pa.array([], pa.int64()),
            }
        ),
        None,
        tmp_path,
    )
    np.testing.assert_allclose(score(ranker, rows, nothing), 0.05, rtol=1e-5)


def test_no_rows_have_no_scores(ranker, context):
    assert score(ranker, make_rows().slice(0, 0), context).shape == (0,)


def test_rows_without_a_needed_column_are_refused_by_name(ranker, rows, context):
    with pytest.raises(ModelError, match="impression_id"):
        score(ranker, rows.drop_columns("impression_id"), context)


def test_the_listwise_loss_is_the_share_of_the_click_by_hand():
    # Slate 0: scores 0 and log 3, the second clicked: 3/4. Slate 1: two equal, one clicked: 1/2.
    loss = listwise(
        torch.tensor([0.0, np.log(3.0), 5.0, 5.0], dtype=torch.float32),
        torch.tensor([0.0, 1.0, 1.0, 0.0]),
        torch.tensor([0, 0, 1, 1]),
        2,
    )
    assert loss.item() == pytest.approx(-(np.log(3 / 4) + np.log(1 / 2)) / 2, rel=1e-5)


def test_slate_auc_counts_ties_as_half_and_leaves_out_what_ranks_nothing():
    # Slate 0: the click beats one skip and ties with the other: 1.5 of 2. Slate 1 has no click.
    scores, clicked = np.array([2.0, 2.0, 1.0, 9.0, 8.0]), np.array([1.0, 0, 0, 0, 0])
    assert slate_aucs(scores, clicked, np.array([0, 0, 0, 1, 1])).tolist() == [0.75]


def test_rows_prepared_together_are_what_they_are_prepared_apart(ranker, rows, context):
    ids = rows["impression_id"].to_pylist()
    num = next(row for row in range(120, len(ids)) if ids[row] != ids[row - 1])
    first, last = rows.slice(0, num), rows.slice(num)
    for found, own in zip(
        ranker.prepare(rows, context).split(num),
        (ranker.prepare(part, context) for part in (first, last)),
        strict=True,
    ):
        np.testing.assert_array_equal(found.slates.order, own.slates.order)
        np.testing.assert_array_equal(found.slates.slate, own.slates.slate)
        np.testing.assert_array_equal(found.slates.sizes, own.slates.sizes)
        np.testing.assert_array_equal(found.slates.label, own.slates.label)
        torch.testing.assert_close(found.features.text, own.features.text)
        torch.testing.assert_close(found.features.behaviour, own.features.behaviour)
        np.testing.assert_allclose(ranker.predict(found), ranker.predict(own), atol=1e-6)


def test_a_split_may_leave_one_side_empty(ranker, rows, context):
    nothing, everything = ranker.prepare(rows, context).split(0)
    assert len(nothing.slates.slate) == len(nothing.slates.history) == 0
    assert len(everything.slates.order) == len(rows)
