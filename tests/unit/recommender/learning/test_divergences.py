import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, kl_div

from tasks.recommender.learning.divergences import distillation, divergence, r_drop

SLATE = torch.arange(3).repeat_interleave(4)


def draw(seed: int) -> torch.Tensor:
    return torch.randn(12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_divergence_of_slates_is_that_of_torch():
    first, second = draw(0), draw(1)
    true, other = (z.view(3, 4).log_softmax(1) for z in (first, second))
    theirs = kl_div(other, true, reduction="batchmean", log_target=True)
    torch.testing.assert_close(divergence(first, second, SLATE, 3), theirs)


def test_a_candidate_alone_is_clicked_or_not():
    # p = 1/2 against q = 3/4: ½ ln(½ / ¾) + ½ ln(½ / ¼).
    by_hand = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    true, other = torch.tensor([0.0]), torch.tensor([math.log(3)])
    assert divergence(true, other, torch.tensor([0]), 1).item() == pytest.approx(by_hand)
    mixed = divergence(
        torch.cat([true, torch.zeros(2)]),
        torch.cat([other, torch.zeros(2)]),
        torch.tensor([0, 1, 1]),
        2,
    )
    assert mixed.item() == pytest.approx(by_hand / 2)


def test_r_drop_of_equal_passes_is_zero_and_it_is_symmetric():
    first, second = draw(0), draw(1)
    assert r_drop(first, first, SLATE, 3).item() == 0
    forth, back = r_drop(first, second, SLATE, 3), r_drop(second, first, SLATE, 3)
    torch.testing.assert_close(forth, back)
    assert forth.item() > 0


@given(st.lists(st.floats(-10, 10), min_size=12, max_size=12), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_divergence_is_never_negative(logits, seed):
    given_logits = torch.tensor(logits, dtype=torch.float64)
    slate = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 5])
    assert divergence(given_logits, draw(seed), slate, 6).item() >= -1e-12


def test_gradients_are_those_of_finite_differences_and_the_start_has_none():
    slate = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 5])
    both = (draw(0).requires_grad_(), draw(1).requires_grad_())
    assert torch.autograd.gradcheck(lambda p, q: r_drop(p, q, slate, 6), both)
    logits, start = both
    distillation(logits, start, slate, 6, 2.0).backward()
    assert start.grad is None
    assert logits.grad is not None


def test_distillation_has_the_gradient_of_cross_entropy_with_soft_labels_times_temperature():
    # d/dz T² KL(p_T ‖ q_T) = T² · 1/T · (q_T − p_T): what Hinton's soft cross-entropy has, times T².
    logits, start = draw(0).requires_grad_(), draw(1)
    (ours,) = torch.autograd.grad(distillation(logits, start, SLATE, 3, 2.0), logits)
    soft = (start.view(3, 4) / 2).softmax(1)
    (theirs,) = torch.autograd.grad(4 * cross_entropy(logits.view(3, 4) / 2, soft), logits)
    torch.testing.assert_close(ours, theirs)
