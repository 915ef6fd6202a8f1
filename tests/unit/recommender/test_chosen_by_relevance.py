"""Which state is kept where the validation says what was relevant, instead of what was clicked."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.debiased import debiased_impression_auc
from tasks.recommender import finetune as finetune_module
from tasks.recommender.finetune import finetune
from tasks.recommender.labels.impressions import newest
from tasks.recommender.losses import pooled_aucs, ranking_aucs
from tasks.recommender.propensity import RELEVANCE, judged_aucs
from tasks.recommender.recipe import Lora, Recipe
from tasks.recommender.score import score
from tasks.recommender.shots import split_by_time
from tasks.recommender.sweep_trial import Bench


def judged_by(rows: pa.Table, relevance: np.ndarray) -> pa.Table:
    return rows.append_column(RELEVANCE, pa.array(relevance))


@pytest.fixture
def parts(rows):
    return split_by_time(rows, validation_share=0.25, holdout_share=0.25)


def labels_of(rows: pa.Table) -> np.ndarray:
    return rows["label"].to_numpy().astype(float)


def test_without_relevance_slates_are_judged_by_clicks():
    rng = np.random.default_rng(3)
    scores, slate = rng.random(40), np.repeat(np.arange(10), 4)
    clicked = np.tile([1.0, 0, 0, 0], 10)
    np.testing.assert_array_equal(
        judged_aucs(scores, clicked, slate, None), ranking_aucs(scores, clicked, slate)
    )
    # Slates of one click each hold equally many pairs: then they weigh equally.
    assert judged_aucs(scores, clicked, slate, clicked).mean() == pytest.approx(
        ranking_aucs(scores, clicked, slate).mean()
    )


def test_slates_of_one_candidate_are_ranked_against_each_other_by_clicks():
    scores = np.array([0.9, 0.1, 0.3, 0.7, 0.2])
    clicked, slate = np.array([1.0, 0, 1, 1, 0]), np.array([0, 0, 1, 2, 3])
    found = judged_aucs(scores, clicked, slate, np.array([2.0, 0, 9, 9, 9]))
    np.testing.assert_allclose(found[1:], pooled_aucs(scores[2:], clicked[2:]))
    assert found[0] == 1


def test_a_state_is_chosen_by_relevance_where_the_validation_has_it(
    ranker, parts, context, monkeypatch
):
    monkeypatch.setattr(finetune_module, "FEWEST_HEAD_JUDGES", 0)
    shots, held = parts.shots, parts.validation
    recipe = Recipe(head_epochs=5, adapter_epochs=0)
    by_clicks = finetune(ranker, shots, held, context, recipe)
    assert by_clicks.kept.startswith("head")
    # What was clicked was never relevant: then whatever learns the clicks is worse.
    opposite = judged_by(held, 1 - labels_of(held))
    by_relevance = finetune(ranker, shots, opposite, context, recipe)
    at_start, trained = by_relevance.epochs[0], by_relevance.epochs[1]
    assert trained.validation_auc < at_start.validation_auc
    assert by_relevance.kept == "start"
    measured = debiased_impression_auc(
        score(ranker, held, context),
        held["label"],
        held["impression_id"],
        np.ones(len(held)),
    )
    same = finetune(ranker, shots, judged_by(held, labels_of(held)), context, recipe)
    assert same.epochs[0].validation_auc == pytest.approx(measured, abs=1e-6)


def test_the_network_is_chosen_by_relevance_too(ranker, parts, context, monkeypatch):
    seen = []

    def spy(alone, aucs):
        seen.append((alone.mean(), aucs.mean()))
        return False

    monkeypatch.setattr(finetune_module, "clearly_below", spy)
    recipe = Recipe(head_epochs=5, adapter_epochs=1, tuning=Lora(rank=4))
    # In the first slates what was clicked is not what was relevant.
    relevant = labels_of(parts.validation)
    relevant[:40] = 1 - relevant[:40]
    held = judged_by(parts.validation, relevant)
    tuned = finetune(ranker, parts.shots, held, context, recipe)
    (adapter,) = (e for e in tuned.epochs if e.phase == "adapter")
    assert seen == [(pytest.approx(tuned.validation_auc, abs=0.02), adapter.validation_auc)]
    plain = finetune(ranker, parts.shots, parts.validation, context, recipe)
    assert plain.validation_auc - tuned.validation_auc > 0.05


def test_shots_that_judge_themselves_do_so_by_relevance(ranker, parts, context):
    few = newest(parts.validation, 5)
    recipe = Recipe(head_epochs=5, adapter_epochs=0)
    shots, held = (judged_by(rows, 1 - labels_of(rows)) for rows in (parts.shots, few))
    assert finetune(ranker, parts.shots, few, context, recipe).kept.startswith("head")
    assert finetune(ranker, shots, held, context, recipe).kept == "start"


def test_trials_of_a_sweep_are_compared_by_relevance_too(ranker, parts, context):
    held = parts.validation
    opposite = judged_by(held, 1 - labels_of(held))
    plain, other = (Bench(ranker, parts.shots, rows, context) for rows in (held, opposite))
    assert plain.aucs(ranker).mean() > 0.5 > other.aucs(ranker).mean()
