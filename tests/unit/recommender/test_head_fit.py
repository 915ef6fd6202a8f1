"""The head's convex fit on a tiny hybrid: it is the posterior mode, and nobody judges himself."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tasks.recommender import match
from tasks.recommender.finetune import finetune
from tasks.recommender.head_fit import (
    OPINION_PRECISION,
    DesignStep,
    _posterior_mode,
    _prior,
    cross_fitted,
    fit_head,
    make_design,
    set_up,
)
from tasks.recommender.head_phase import measure_head
from tasks.recommender.hybrid import new_head
from tasks.recommender.labelled import label_rows, trainable
from tasks.recommender.learning.loss import step_loss
from tasks.recommender.learning.objectives import label_loss
from tasks.recommender.recipe import Objective, Recipe, Regularize
from tasks.recommender.unroll import unroll
from tests.unit.recommender.conftest import make_rows

RECIPE = Recipe(head_epochs=300, adapter_epochs=0, wave_precisions=(1.0,))
FIRST = replace(RECIPE, memory=0.0)


def answers(rows: pa.Table, every: int = 2) -> pa.Table:
    """Every row as an impression of its own, after a history whose entry 0, `every`, … is disliked."""
    ids = pa.array([f"{slate}-{row}" for row, slate in enumerate(rows["impression_id"])])
    mixed = [
        [{**entry, "label": int(place % every > 0)} for place, entry in enumerate(history)]
        for history in rows["history"].to_pylist()
    ]
    histories = pa.array(mixed, rows["history"].type)
    names = rows.column_names
    rows = rows.set_column(names.index("impression_id"), "impression_id", ids)
    return rows.set_column(names.index("history"), "history", histories)


@pytest.fixture
def shots(ranker, rows, context):
    return ranker.prepare(rows, context)


@pytest.fixture
def single(ranker, rows, context):
    return ranker.prepare(answers(rows), context)


def ready(shots, recipe=RECIPE, weights=None):
    """A head that is set up, and the labels."""
    head = new_head(seed=1)
    set_up(head, shots, recipe)
    weights = np.ones(len(shots.slates.order)) if weights is None else weights
    return head, label_rows(head, shots, recipe, weights)


def fitted(shots, recipe=RECIPE, weights=None):
    head, labels = ready(shots, recipe, weights)
    assert fit_head(head, shots, labels, recipe) is not None
    return head


def residual(head) -> torch.Tensor:
    return torch.cat([head.linear, head.mixed, head.opinion]).detach()


@pytest.mark.parametrize("name", ["listwise", "bpr"])
@pytest.mark.parametrize("precision", [1.0, 10.0])
def test_at_the_fit_the_labels_pull_as_hard_as_the_prior(shots, name, precision):
    recipe = replace(RECIPE, objective=Objective(loss=name), wave_precisions=(precision,))
    head = fitted(shots, recipe)
    labels = label_rows(head, shots, recipe, np.ones(len(shots.slates.order)))
    slates = shots.slates
    place = torch.from_numpy(slates.slate)

    def pull() -> torch.Tensor:
        loss = label_loss(
            head.rank(shots.features),
            labels.clicked,
            place,
            len(slates.history),
            labels.weight,
            recipe.objective,
        )
        parts = torch.autograd.grad(len(slates.history) * loss, [head.linear, head.mixed])
        return torch.cat(parts) + prior * residual(head)

    prior = _prior(head, precision, FIRST)[:-2]
    at_fit = pull().norm()
    with torch.no_grad():
        head.linear.zero_()
        head.mixed.zero_()
    assert at_fit < 0.01 * pull().norm()


def test_a_prior_that_trusts_no_shot_keeps_the_start(shots, monkeypatch):
    first = fitted(shots)
    sure = torch.full_like(_prior(first, 1.0, FIRST), 1e8)
    monkeypatch.setattr("tasks.recommender.head_fit._prior", lambda *_: sure)
    before = residual(first).clone()
    labels = label_rows(first, shots, RECIPE, np.ones(len(shots.slates.order)))
    flipped = replace(shots, slates=replace(shots.slates, label=np.roll(shots.slates.label, 1)))
    labels = replace(labels, clicked=labels.clicked.roll(1))
    fit_head(first, flipped, labels, RECIPE)
    torch.testing.assert_close(residual(first), before, atol=1e-5, rtol=0)


def test_on_single_candidates_it_is_scikit_learn_s_logistic_regression(single):
    head, labels = ready(single)
    head.set_landmarks(torch.zeros(0, 0))
    design = make_design(head, single, labels, RECIPE)
    design.base = torch.zeros_like(design.base)
    start = torch.zeros(design.columns.shape[1])
    everything = trainable(single.slates, RECIPE.objective)
    precisions = torch.cat([torch.full_like(start, 4.0), torch.full((2,), 0.01)])
    fit = _posterior_mode(design, start, everything, RECIPE, precisions)
    theirs = LogisticRegression(C=1 / 4.0, tol=1e-8, max_iter=5000)
    theirs.fit(design.columns.numpy(), labels.clicked.numpy())
    np.testing.assert_allclose(fit.weights[:-2].numpy(), theirs.coef_[0], atol=5e-3)


def test_opinions_of_items_have_a_prior_of_their_own(single):
    head, labels = ready(single)
    assert len(head.opinion) == len(head.landmarks) > 0
    stiff = replace(RECIPE, wave_precisions=(1000 * OPINION_PRECISION,))
    fit_head(head, single, labels, stiff)
    assert head.opinion.detach().norm() > 10 * head.mixed.detach().norm()


def test_slates_of_weight_zero_teach_nothing_and_smoothing_keeps_the_weights_small(shots):
    odd = shots.slates.slate % 2 == 1
    weights = np.ones(len(odd))
    weights[shots.slates.order[odd]] = 0.0
    last = np.append(shots.slates.slate[1:] != shots.slates.slate[:-1], True)
    label = np.where(odd, last, shots.slates.label)
    misled = replace(shots, slates=replace(shots.slates, label=label))
    head, labels = ready(shots, weights=weights)
    clicked = torch.from_numpy(label.astype(np.float32))
    found = []
    for rows, told in ((shots, labels), (misled, replace(labels, clicked=clicked))):
        own = new_head(seed=1)
        own.load_state_dict(head.state_dict())
        fit_head(own, rows, told, RECIPE)
        found.append(residual(own))
    torch.testing.assert_close(*found, atol=1e-4, rtol=0)
    smooth = replace(RECIPE, objective=Objective(label_smoothing=0.5))
    assert residual(fitted(shots, smooth)).norm() < 0.8 * residual(fitted(shots)).norm()


def test_ewc_is_a_prior_that_holds_most_what_the_labels_depend_on(shots):
    free = fitted(shots).linear.detach().abs()
    held = fitted(shots, replace(RECIPE, regularize=Regularize(ewc=10.0))).linear.detach().abs()
    assert held.norm() < 0.9 * free.norm()
    moves = free > 1e-3
    assert float((held / free)[moves].min()) < 0.5


def test_without_passes_or_lessons_nothing_is_fitted(shots):
    head, labels = ready(shots)
    none = replace(RECIPE, head_epochs=0)
    assert fit_head(head, shots, labels, none) is None
    clicks = replace(shots, slates=replace(shots.slates, label=np.ones(len(shots.slates.label))))
    assert fit_head(head, clicks, labels, RECIPE) is None
    assert head.untrained


def test_a_user_s_own_labels_never_reach_the_user_s_cross_fitted_scores(shots, rows):
    head, labels = ready(shots)
    slates = shots.slates
    user = np.array([int(name[1:]) for name in rows["user_id"].to_pylist()])
    groups = user[slates.order[slates.starts]]
    mine = groups[slates.slate] == 7
    last = np.append(slates.slate[1:] != slates.slate[:-1], True)
    label = np.where(mine, last, slates.label)
    other = replace(shots, slates=replace(slates, label=label.astype(float)))
    told = replace(labels, clicked=torch.from_numpy(label.astype(np.float32)))
    honest = cross_fitted(head, shots, labels, groups, RECIPE)
    flipped = cross_fitted(head, other, told, groups, RECIPE)
    before, after = honest(1.0).numpy(), flipped(1.0).numpy()
    np.testing.assert_array_equal(before[mine], after[mine])
    assert not np.allclose(before[~mine], after[~mine], atol=1e-3)
    start = head.rank(shots.features).detach().numpy()
    np.testing.assert_allclose(honest(0.0).numpy(), start, atol=1e-5)
    np.testing.assert_allclose(honest(0.5).numpy(), (start + before) / 2, atol=1e-5)


@pytest.mark.parametrize("planted", [(0.0, 1.0), (20.0, 0.0)])
def test_attention_finds_what_readers_look_at(shots, planted):
    rng = np.random.default_rng(3)
    cosine = torch.from_numpy(rng.uniform(-1, 1, (len(shots.slates.slate), 5)).astype(np.float32))
    liked = torch.ones_like(cosine, dtype=torch.bool)
    matches = match.Matches(cosine, liked, torch.zeros_like(liked))
    told = match.attended(matches, *map(torch.tensor, planted)).numpy()
    best = np.zeros(len(told))
    for slate in range(len(shots.slates.history)):
        rows = np.flatnonzero(shots.slates.slate == slate)
        best[rows[told[rows].argmax()]] = 1.0
    features = shots.features._replace(matches=matches)
    made = replace(shots, features=features, slates=replace(shots.slates, label=best))
    head = new_head(seed=1)
    set_up(head, made, RECIPE)
    assert head.sharpness.item() == planted[0]
    assert abs(head.fading.item() - planted[1]) <= 0.5


def few(rows: pa.Table, slates: int, first: int = 0) -> pa.Table:
    chosen = [first <= int(name[1:]) < first + slates for name in rows["impression_id"].to_pylist()]
    return rows.filter(pa.array(chosen))


@pytest.mark.parametrize("seed", range(3))
def test_cross_fitting_never_falls_below_the_start(ranker, context, seed):
    rows = make_rows(40, seed=seed)
    rng = np.random.default_rng(seed)
    noise = pa.array(rng.permutation(rows["label"].to_numpy()).astype(np.int8))
    rows = rows.set_column(rows.column_names.index("label"), "label", noise)
    recipe = replace(RECIPE, head_epochs=40)
    tuned = finetune(ranker, few(rows, 30), few(rows, 10, 30), context, recipe)
    assert tuned.epochs[0].phase == "start"
    assert tuned.validation_auc >= tuned.epochs[0].validation_auc


def test_a_validation_too_small_to_judge_is_learned_from(ranker, rows, context):
    tuned = finetune(ranker, few(rows, 60), few(rows, 10, 60), context, RECIPE)
    assert tuned.kept.startswith("head")
    again = finetune(ranker, few(rows, 70), few(rows, 0), context, RECIPE)
    assert again.ranker.digest == tuned.ranker.digest


def test_cross_fitted_answers_are_calibrated(ranker, rows, context):
    shots = answers(few(rows, 60), every=5)
    tuned = finetune(ranker, shots, shots.slice(0, 0), context, RECIPE)
    assert tuned.kept.startswith("head")
    assert tuned.rows > len(shots), "histories are unrolled"
    learned = pa.concat_tables([shots, unroll(shots)])
    said = tuned.ranker.probabilities(learned, context)
    assert said.mean() == pytest.approx(learned["label"].to_numpy().mean(), rel=0.1)


@pytest.mark.parametrize("validated", [True, False])
def test_the_start_is_judged_as_it_is_not_as_what_set_up_made_of_it(
    ranker, rows, context, validated
):
    """Where the log turns out to hold dislikes, users without any are scored otherwise."""
    likes, mixed = answers(rows, every=10**6), answers(rows)
    even = [int(user[1:]) % 2 == 0 for user in rows["user_id"].to_pylist()]
    column = rows.column_names.index("history")
    histories = [
        like if is_even else both
        for like, both, is_even in zip(
            rows["history"].to_pylist(), mixed["history"].to_pylist(), even, strict=True
        )
    ]
    shots = likes.set_column(column, "history", pa.array(histories, rows["history"].type))
    held = shots.slice(300) if validated else shots.slice(0, 0)
    recipe = replace(RECIPE, learn_validation=False)
    tuned = finetune(ranker, shots.slice(0, 300), held, context, recipe)
    judges = (
        held if validated else pa.concat_tables([shots.slice(0, 300), unroll(shots.slice(0, 300))])
    )
    prepared = ranker.prepare(judges, context)
    expected = measure_head(ranker.head, prepared.features, prepared.slates).mean()
    assert tuned.epochs[0].validation_auc == pytest.approx(expected)


def test_a_head_carried_on_is_nearly_the_head_of_all_shots(ranker, context):
    first, second = (ranker.prepare(make_rows(seed=seed), context) for seed in (3, 4))
    both = pa.concat_tables([renamed(make_rows(seed=seed), seed) for seed in (3, 4)])
    together = ranker.prepare(both, context)
    head, labels = ready(first)
    whole = deepcopy(head)
    fit_head(head, first, labels, RECIPE)
    fit_head(whole, together, labelled(whole, together), RECIPE)
    alone = deepcopy(head)
    forgetful = replace(RECIPE, memory=0.0)
    fit_head(alone, second, labelled(alone, second), forgetful)
    fit_head(head, second, labelled(head, second), RECIPE)
    near = (head.rank(together.features) - whole.rank(together.features)).std()
    far = (alone.rank(together.features) - whole.rank(together.features)).std()
    assert near < 0.3 * far


@pytest.mark.parametrize("loss", ["listwise", "pointwise"])
def test_what_is_remembered_is_the_curvature_of_the_loss(shots, loss):
    recipe = replace(RECIPE, objective=Objective(loss=loss))
    head, labels = ready(shots, recipe)
    fit = fit_head(head, shots, labels, recipe)
    begun = new_head(seed=1)
    set_up(begun, shots, recipe)
    design = make_design(begun, shots, labels, recipe)
    chosen = trainable(shots.slates, recipe.objective)
    step = DesignStep(design, fit.weights, chosen)

    def total(weights: torch.Tensor) -> torch.Tensor:
        step.weights = torch.cat([weights.to(fit.weights), fit.weights[10:]])
        share = len(step.clicked) if loss == "pointwise" else step.num_slates
        return share * step_loss(step, recipe)

    curvature = torch.autograd.functional.hessian(total, fit.weights[:10])
    scale = step.num_slates / len(step.clicked) if loss == "pointwise" else 1.0
    torch.testing.assert_close(
        head.information[:10, :10], scale * curvature, rtol=1e-3, atol=1e-3 * curvature.max()
    )


def test_the_fit_is_the_mean_of_those_under_each_prior(shots):
    one, other = (fitted(shots, replace(RECIPE, wave_precisions=(p,))) for p in (1.0, 30.0))
    both = fitted(shots, replace(RECIPE, wave_precisions=(1.0, 30.0)))
    torch.testing.assert_close(residual(both), (residual(one) + residual(other)) / 2)
    assert not torch.allclose(residual(one), residual(other), atol=0.01)


def test_a_validation_that_has_judged_teaches_too_and_the_judgement_stays_as_it_was(
    ranker, rows, context
):
    shots, held = few(rows, 40), few(rows, 30, 40)
    recipe = replace(RECIPE, head_epochs=40)
    judged = finetune(ranker, shots, held, context, replace(recipe, learn_validation=False))
    taught = finetune(ranker, shots, held, context, recipe)
    assert (taught.kept, taught.validation_auc) == (judged.kept, judged.validation_auc)
    together = finetune(ranker, few(rows, 70), held.slice(0, 0), context, recipe)
    assert taught.kept == together.kept == "head"
    torch.testing.assert_close(residual(taught.ranker.head), residual(together.ranker.head))
    assert not torch.allclose(residual(taught.ranker.head), residual(judged.ranker.head), atol=0.01)
    said = [each.ranker.probabilities(held, context).mean() for each in (judged, taught)]
    assert said[1] == pytest.approx(said[0], rel=0.1), "calibrated by those who had not seen it"


def test_a_head_without_memory_starts_as_loosely_as_the_first(shots):
    head = fitted(shots)
    loose = _prior(head, 1.0, replace(RECIPE, memory=0.0))
    assert loose.ndim == 1
    firm = _prior(head, 1.0, RECIPE)
    assert (firm.diagonal()[:-2] >= loose[:-2]).all()


def renamed(rows: pa.Table, seed: int) -> pa.Table:
    ids = pc.binary_join_element_wise(rows["impression_id"], f"of {seed}", "-")
    return rows.set_column(rows.column_names.index("impression_id"), "impression_id", ids)


def labelled(head, shots):
    return label_rows(head, shots, RECIPE, np.ones(len(shots.slates.order)))
