"""Logs whose impressions are single candidates, as TALLRec's are."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tasks.recommender import finetune as finetune_module
from tasks.recommender.finetune import FEWEST_JUDGES, SINGLES_A_SLATE, can_judge, finetune
from tasks.recommender.labelled import comparable, level_for, trainable
from tasks.recommender.losses import pooled_aucs, ranking_aucs, slate_aucs
from tasks.recommender.recipe import Objective, Optimization, Recipe
from tasks.recommender.shots import split_by_time
from tasks.recommender.slates import group_rows

LISTWISE = Objective()


def apart(rows: pa.Table) -> pa.Table:
    """Every row as an impression of its own."""
    ids = pa.array([f"{impression}-{row}" for row, impression in enumerate(rows["impression_id"])])
    return rows.set_column(rows.column_names.index("impression_id"), "impression_id", ids)


@pytest.fixture
def split(rows):
    return split_by_time(apart(rows), validation_share=0.25, holdout_share=0.25)


@pytest.mark.parametrize("name", ["listwise", "bpr", "pointwise"])
def test_they_improve_the_ranking_of_later_ones_under_every_objective(
    ranker, split, context, name, monkeypatch
):
    monkeypatch.setattr(finetune_module, "FEWEST_HEAD_JUDGES", 0)
    recipe = Recipe(
        head_epochs=8,
        adapter_epochs=0,
        objective=Objective(loss=name),
        optimization=Optimization(learning_rate=0.03),
    )
    tuned = finetune(ranker, split.shots, split.validation, context, recipe)

    def auc(scored):
        found = scored.probabilities(split.holdout, context)
        return roc_auc_score(split.holdout["label"].to_numpy(), found)

    assert tuned.kept.startswith("head")
    assert tuned.epochs[1].train_loss > tuned.epochs[-1].train_loss
    assert auc(tuned.ranker) > auc(ranker)


def test_the_mean_is_the_auc_over_all_and_the_variance_that_of_resampling():
    rng = np.random.default_rng(0)
    clicked = (rng.random(150) < 0.3).astype(float)
    scores = np.round(clicked + rng.normal(0, 1.2, 150), 1)  # with ties
    shares = pooled_aucs(scores, clicked)
    assert shares.mean() == pytest.approx(roc_auc_score(clicked, scores))
    drawn = rng.integers(0, 150, (600, 150))
    resampled = np.std([pooled_aucs(scores[rows], clicked[rows]).mean() for rows in drawn])
    assert shares.std(ddof=1) / np.sqrt(150) == pytest.approx(resampled, rel=0.12)


def test_slates_and_single_candidates_each_count_once():
    scores = np.array([0.9, 0.1, 0.5, 0.7, 0.2, 0.4])
    clicked = np.array([1.0, 0, 0, 1, 1, 0])
    slate = np.array([0, 0, 0, 1, 2, 3])
    found = ranking_aucs(scores, clicked, slate)
    np.testing.assert_allclose(found[0], slate_aucs(scores, clicked, slate))
    np.testing.assert_allclose(found[1:], pooled_aucs(scores[3:], clicked[3:]))
    assert len(found) == 4


def test_clicks_alone_say_nothing(rows):
    single = group_rows(apart(rows), None)
    assert len(comparable(single)) == len(rows)
    clicks = replace(single, label=np.ones(len(rows)))
    assert len(comparable(clicks)) == 0
    assert len(trainable(clicks, Objective(loss="pointwise"))) == len(rows)
    assert len(ranking_aucs(np.arange(3.0), np.ones(3), np.arange(3))) == 0


def test_their_level_is_trained_and_that_of_whole_slates_stays_zero(ranker, rows, context):
    whole, single = (ranker.prepare(part, context) for part in (rows, apart(rows)))
    kept = level_for(ranker.head, whole, LISTWISE)
    assert not any(p.requires_grad or bool(p.any()) for p in kept.parameters())
    level = level_for(ranker.head, single, LISTWISE)
    mean = (ranker.head.rank(single.features) + level(single.features)).mean().detach()
    clicks = float(single.slates.label.sum())
    odds = (clicks + 0.5) / (len(single.slates.label) - clicks + 0.5)
    assert mean.item() == pytest.approx(np.log(odds), abs=1e-4)
    assert all(p.requires_grad for p in level.parameters())
    assert torch.equal(ranker.head.rank(single.features), ranker.head.rank(single.features))


def test_impressions_of_one_candidate_judge_a_quarter_as_well():
    def impressions(slates: int, alone: int) -> pa.Table:
        ids = [f"s{n // 2}" for n in range(2 * slates)] + [f"a{n}" for n in range(alone)]
        return pa.table({"impression_id": pa.array(ids, pa.string())})

    assert can_judge(impressions(FEWEST_JUDGES, 0), Recipe())
    assert not can_judge(impressions(FEWEST_JUDGES - 1, SINGLES_A_SLATE - 1), Recipe())
    assert can_judge(impressions(FEWEST_JUDGES - 1, SINGLES_A_SLATE), Recipe())
    assert not can_judge(impressions(0, 0), Recipe())
    assert can_judge(impressions(0, 1), Recipe(head_fit="steps"))
