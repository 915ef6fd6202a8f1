import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tasks.recommender.learning.objectives import (
    bpr,
    click_skip_pairs,
    label_loss,
    listwise,
    pointwise,
)
from tasks.recommender.recipe import Objective

SLATE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
CLICKED = torch.tensor([1.0, 0, 0, 0, 1, 1, 1, 0, 0, 1])
RANKING = [listwise, bpr]


def draw(seed: int = 0) -> torch.Tensor:
    return torch.randn(10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


slates = st.lists(
    st.lists(st.tuples(st.floats(-8, 8), st.booleans(), st.floats(0.1, 5)), min_size=1, max_size=6),
    min_size=1,
    max_size=5,
)


def unpack(drawn):
    rows = [
        (logit, click, weight, s) for s, rows in enumerate(drawn) for logit, click, weight in rows
    ]
    logit, click, weight, slate = (torch.tensor(column) for column in zip(*rows, strict=True))
    return logit.double(), click.double(), slate, len(drawn), weight.double()


def test_bpr_by_hand():
    # Slate 0: pairs 1−0 and 1−2 with differences 2 and 1; slate 1 has no pair, and counts in the mean.
    logits = torch.tensor([0.0, 2.0, 1.0, 5.0, 4.0])
    loss = bpr(logits, torch.tensor([0.0, 1, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1]), 2)
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2 / 2
    assert loss.item() == pytest.approx(by_hand)


def test_pairs_are_all_clicks_with_all_skips_of_their_slate_in_any_row_order():
    order = torch.tensor([7, 0, 4, 9, 1, 5, 2, 8, 3, 6])
    click, skip = click_skip_pairs(CLICKED[order], SLATE[order], 4)
    pairs = sorted(zip(order[click].tolist(), order[skip].tolist(), strict=True))
    assert pairs == [(0, 1), (0, 2), (4, 3), (5, 7), (5, 8), (6, 7), (6, 8)]


def test_listwise_is_cross_entropy_of_torch_also_when_smoothed():
    logits_SC, click = torch.randn(4, 5, dtype=torch.float64), torch.tensor([3, 0, 4, 1])
    clicked = torch.zeros(4, 5, dtype=torch.float64).scatter_(1, click.unsqueeze(1), 1.0)
    slate = torch.arange(4).repeat_interleave(5)
    for smoothing in (0.0, 0.3):
        ours = listwise(logits_SC.ravel(), clicked.ravel(), slate, 4, None, smoothing)
        theirs = cross_entropy(logits_SC, click, label_smoothing=smoothing)
        torch.testing.assert_close(ours, theirs)


def test_pointwise_is_binary_cross_entropy_of_torch():
    weight = draw(1).abs()
    theirs = binary_cross_entropy_with_logits(draw(), CLICKED.double(), weight)
    torch.testing.assert_close(pointwise(draw(), CLICKED.double(), weight), theirs)


def test_smoothing_moves_pointwise_labels_to_one_half_and_pairs_to_a_draw():
    even = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    # Smoothed by all: both labels are 1/2, so equal logits are best, whatever was clicked.
    for loss in (
        pointwise(even, CLICKED.double(), None, 1.0),
        bpr(even, CLICKED.double(), SLATE, 4, None, 1.0),
    ):
        (gradient,) = torch.autograd.grad(loss, even)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    # Best difference of a pair smoothed by ε: σ(d) = 1 − ε/2.
    best = math.log(0.9 / 0.1)
    pair = torch.tensor([best, 0.0], dtype=torch.float64, requires_grad=True)
    one_zero = torch.tensor([1.0, 0.0], dtype=torch.float64)
    loss = bpr(pair, one_zero, torch.zeros(2, dtype=torch.long), 1, None, 0.2)
    (gradient,) = torch.autograd.grad(loss, pair)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_the_weight_of_a_click_scales_its_part_of_every_loss():
    # One click a slate: doubling slate 1's click doubles that slate's part, and nothing else.
    clicked = torch.tensor([1.0, 0, 0, 0, 1], dtype=torch.float64)
    slate, logits = SLATE[:5], draw()[:5]
    double = torch.tensor([1.0, 1, 1, 1, 2], dtype=torch.float64)
    second = (slate == 1).double()
    for loss in RANKING:
        plain = loss(logits, clicked, slate, 2)
        part = loss(logits[3:], clicked[3:], slate[3:] - 1, 1) / 2
        torch.testing.assert_close(loss(logits, clicked, slate, 2, double) - plain, part)
    plain, heavier = (pointwise(logits, clicked, w) for w in (None, 1 + second * clicked))
    own = binary_cross_entropy_with_logits(logits[4:], clicked[4:])
    torch.testing.assert_close(heavier - plain, own / 5)


@pytest.mark.parametrize("name", ["listwise", "pointwise", "bpr"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_every_gradient_is_that_of_finite_differences(name, smoothing):
    objective = Objective(loss=name, label_smoothing=smoothing)
    weight = draw(1).abs()

    def loss(logits):
        return label_loss(logits, CLICKED.double(), SLATE, 4, weight, objective)

    assert torch.autograd.gradcheck(loss, draw().requires_grad_())


@given(slates, st.lists(st.floats(-20, 20), min_size=5, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_shift_of_each_slate_changes_no_ranking_loss(drawn, shifts):
    logits, clicked, slate, num, weight = unpack(drawn)
    moved = logits + torch.tensor(shifts, dtype=torch.float64)[slate]
    for loss in RANKING:
        one, other = (loss(z, clicked, slate, num, weight, 0.1) for z in (logits, moved))
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


@given(slates, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_changes_nothing(drawn, random):
    logits, clicked, slate, num, weight = unpack(drawn)
    order = torch.tensor(random.sample(range(len(logits)), len(logits)))
    for name in ("listwise", "pointwise", "bpr"):
        objective = Objective(loss=name, label_smoothing=0.1)
        one = label_loss(logits, clicked, slate, num, weight, objective)
        columns = (column[order] for column in (logits, clicked, slate))
        z, y, s = columns
        torch.testing.assert_close(one, label_loss(z, y, s, num, weight[order], objective))


@given(slates)
@settings(max_examples=60, deadline=None)
def test_weights_of_one_are_no_weights_and_every_loss_is_positive(drawn):
    logits, clicked, slate, num, _ = unpack(drawn)
    ones = torch.ones_like(logits)
    for loss in RANKING:
        plain = loss(logits, clicked, slate, num)
        torch.testing.assert_close(plain, loss(logits, clicked, slate, num, ones))
        assert plain.item() >= 0
    torch.testing.assert_close(pointwise(logits, clicked), pointwise(logits, clicked, ones))


@pytest.mark.parametrize("name", ["listwise", "bpr"])
def test_a_candidate_alone_falls_back_to_its_cross_entropy(name):
    objective = Objective(loss=name)
    ones = torch.ones(10, dtype=torch.float64)
    together = label_loss(draw(), CLICKED.double(), SLATE, 4, ones, objective)
    ranked = {"listwise": listwise, "bpr": bpr}[name](draw(), CLICKED.double(), SLATE, 4)
    alone = binary_cross_entropy_with_logits(draw()[9:], CLICKED[9:].double())
    torch.testing.assert_close(together, ranked + alone / 4)


@pytest.mark.parametrize("name", ["listwise", "bpr", "pointwise"])
def test_single_candidates_train_alike_under_every_objective(name):
    ones = torch.ones(10, dtype=torch.float64)
    objective = Objective(loss=name, label_smoothing=0.1)
    loss = label_loss(draw(), CLICKED.double(), torch.arange(10), 10, ones, objective)
    torch.testing.assert_close(loss, pointwise(draw(), CLICKED.double(), None, 0.1))


def test_huge_logits_overflow_nothing():
    logits = torch.tensor([3e4, -3e4, 0.0], requires_grad=True)
    slate, clicked = torch.zeros(3, dtype=torch.long), torch.tensor([0.0, 1.0, 0.0])
    for loss in RANKING:
        value = loss(logits, clicked, slate, 1)
        (gradient,) = torch.autograd.grad(value, logits)
        assert np.isfinite(value.item())
        assert bool(torch.isfinite(gradient).all())
