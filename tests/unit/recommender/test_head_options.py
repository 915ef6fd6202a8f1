"""The options of the head's phase on a tiny hybrid: each moves training the way it claims."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.recommender.finetune import finetune
from tasks.recommender.head_phase import HeadStep, train_head
from tasks.recommender.hybrid import new_head
from tasks.recommender.labelled import label_rows, level_for, slate_steps
from tasks.recommender.labels.pseudo import WEIGHT
from tasks.recommender.learning.divergences import divergence, r_drop
from tasks.recommender.learning.loss import step_loss
from tasks.recommender.learning.objectives import label_loss, log_softmax
from tasks.recommender.recipe import (
    Objective,
    Optimization,
    Recipe,
    Regularize,
)
from tasks.recommender.shots import split_by_time

FAST = Optimization(learning_rate=0.03, encoder_learning_rate=5e-3, dropout=0.0)
HEAD = Recipe(head_epochs=6, adapter_epochs=0, optimization=FAST, slates_per_step=16)


@pytest.fixture
def split(rows):
    return split_by_time(rows, validation_share=0.25, holdout_share=0.25)


@pytest.fixture
def shots(ranker, split, context):
    return ranker.prepare(split.shots, context)


class Learned:
    """A head after its phase, and the whole of the shots as one step under it."""

    def __init__(self, shots, recipe: Recipe, weights=None) -> None:
        self.head = new_head(seed=1, dropout=recipe.optimization.dropout)
        self.head.standardise_on(shots.features)
        weights = np.ones(len(shots.slates.order)) if weights is None else weights
        asked = replace(recipe, regularize=replace(recipe.regularize, distill=1.0))
        labels = label_rows(self.head, shots, asked, weights)
        torch.manual_seed(0)
        self.losses = list(train_head(self.head, shots, labels, recipe))
        rng, objective = np.random.default_rng(0), recipe.objective
        (everything,) = slate_steps(shots.slates, 10**6, rng, objective)
        level = level_for(self.head, shots, objective)
        self.step = HeadStep(self.head.eval(), level, shots.features, labels, everything)

    def logits(self) -> torch.Tensor:
        return self.step.score(self.step.inputs()).detach()

    def ranking(self):
        return self.step.slate, self.step.num_slates


@pytest.mark.parametrize("name", ["listwise", "pointwise", "bpr"])
def test_the_objective_that_is_named_is_what_training_lowers(shots, name):
    recipe = replace(HEAD, objective=Objective(loss=name))
    still = replace(recipe, optimization=replace(FAST, learning_rate=1e-12))
    before, after = Learned(shots, still), Learned(shots, recipe)

    def value(learned):
        step = learned.step
        return label_loss(
            learned.logits(), step.clicked, *learned.ranking(), step.weight, recipe.objective
        ).item()

    assert before.losses[0] == pytest.approx(value(before), rel=0.05)
    assert value(after) < value(before)


def test_label_smoothing_keeps_the_ranking_from_growing_sure(shots):
    smooth = replace(HEAD, objective=Objective(label_smoothing=0.5))

    def surest(learned):
        return log_softmax(learned.logits(), *learned.ranking()).exp().max()

    assert surest(Learned(shots, smooth)) < surest(Learned(shots, HEAD))


def test_l2_sp_and_ewc_keep_the_weights_near_the_start(shots):
    def travelled(regularize):
        learned = Learned(shots, replace(HEAD, regularize=regularize))
        return float(learned.head.linear.detach().norm())

    free = travelled(Regularize(l2_sp=0.0))
    assert travelled(Regularize(l2_sp=5.0)) < 0.9 * free
    assert travelled(Regularize(l2_sp=0.0, ewc=100.0)) < 0.9 * free


def test_ewc_holds_most_what_the_labels_depend_on(shots):
    def moved(regularize):
        return Learned(shots, replace(HEAD, regularize=regularize)).head.linear.detach().abs()

    # A feature that is constant on the shots has no information, and is not held.
    free, held = moved(Regularize(l2_sp=0.0)), moved(Regularize(l2_sp=0.0, ewc=100.0))
    moves = free > 1e-3
    assert float((held / free)[moves].min()) < 0.5


def test_distillation_keeps_the_start_s_ranking(shots):
    def apart(distill):
        regularize = Regularize(l2_sp=0.0, distill=distill)
        learned = Learned(shots, replace(HEAD, regularize=regularize))
        return divergence(learned.step.start, learned.logits(), *learned.ranking()).item()

    assert apart(5.0) < 0.5 * apart(0.0)


def test_r_drop_brings_passes_of_different_dropout_together(shots):
    dropping = replace(FAST, dropout=0.3)

    def apart(weight):
        regularize = Regularize(l2_sp=0.0, r_drop=weight)
        learned = Learned(shots, replace(HEAD, optimization=dropping, regularize=regularize))
        learned.head.train()
        torch.manual_seed(5)
        first, second = learned.logits(), learned.logits()
        return r_drop(first, second, *learned.ranking()).item()

    assert apart(5.0) < 0.8 * apart(0.0)


def test_a_clipped_step_is_as_long_as_the_clip(shots):
    slow = replace(FAST, optimizer="sgd", learning_rate=0.1, clip_norm=0.01, warmup_share=0.0)
    recipe = Recipe(
        head_epochs=1, slates_per_step=10**6, optimization=slow, regularize=Regularize(l2_sp=0.0)
    )
    before = new_head(seed=1)
    clipped = Learned(shots, recipe)
    now = dict(clipped.head.named_parameters())
    rates = {name: 1.0 if name in ("sharpness", "fading") else 0.1 for name in now}
    # A Nesterov step from rest is 1 + 0.9 gradients long.
    gradient = [
        (p - now[name]).detach() / rates[name] / 1.9 for name, p in before.named_parameters()
    ]
    length = torch.cat([part.flatten() for part in gradient]).norm()
    assert length.item() == pytest.approx(0.01, rel=1e-2)


def test_steps_that_are_gathered_are_one_larger_step(shots):
    def linear(per_step, accumulate):
        optimization = replace(FAST, accumulate=accumulate)
        recipe = replace(HEAD, slates_per_step=per_step, optimization=optimization)
        return Learned(shots, recipe).head.linear.detach()

    # 60 slates: steps of 10 gathered in threes, or steps of 30.
    torch.testing.assert_close(linear(10, 3), linear(30, 1), rtol=1e-3, atol=1e-5)
    assert not torch.allclose(linear(10, 1), linear(30, 1), rtol=1e-2)


def test_a_slate_of_weight_zero_teaches_nothing(shots):
    slates = shots.slates
    odd = slates.slate % 2 == 1
    weights = np.ones(len(odd))
    weights[slates.order[odd]] = 0.0
    last = np.append(slates.slate[1:] != slates.slate[:-1], True)
    misled = replace(shots, slates=replace(slates, label=np.where(odd, last, slates.label)))
    honest, other = Learned(shots, HEAD, weights), Learned(misled, HEAD, weights)
    torch.testing.assert_close(honest.head.linear, other.head.linear)
    assert not torch.allclose(Learned(misled, HEAD).head.linear, honest.head.linear, atol=1e-3)


def test_weights_are_read_from_their_column_where_null_counts_one(ranker, split, context):
    odd = [int(name[1:]) % 2 == 1 for name in split.shots["impression_id"].to_pylist()]

    def first_loss(weights):
        column = pa.array(weights, pa.float64())
        shots = split.shots.append_column(WEIGHT, column)
        one_step = replace(HEAD, head_fit="steps", slates_per_step=10**6)
        return finetune(ranker, shots, split.validation, context, one_step).epochs[1].train_loss

    even_alone, odd_alone, both = (
        first_loss(weights)
        for weights in (
            [0.0 if is_odd else None for is_odd in odd],
            [None if is_odd else 0.0 for is_odd in odd],
            [None] * len(odd),
        )
    )
    assert both == pytest.approx(even_alone + odd_alone)
    assert min(even_alone, odd_alone) > 0


def test_terms_of_weight_zero_are_never_computed(shots):
    class Bare(HeadStep):
        passes = 0

        def score(self, inputs):
            Bare.passes += 1
            return super().score(inputs)

        def affinity(self, inputs):
            raise AssertionError

        def views(self):
            raise AssertionError

    learned = Learned(shots, HEAD)
    (rows,) = slate_steps(shots.slates, 10**6, np.random.default_rng(0), Objective())
    labels = label_rows(learned.head, shots, HEAD, np.ones(len(shots.slates.order)))
    level = level_for(learned.head, shots, Objective())
    step_loss(Bare(learned.head, level, shots.features, labels, rows), HEAD)
    assert Bare.passes == 1
