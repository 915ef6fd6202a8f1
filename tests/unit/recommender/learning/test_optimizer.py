import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.recommender.learning.optimizer import Optimizer, mixed_precision
from tasks.recommender.recipe import Optimization

FLAT = {"schedule": "constant", "warmup_share": 0.0, "clip_norm": 0.0}


def weight(*values: float) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor([values], dtype=torch.float64))


def group(*weights: torch.nn.Parameter, rate: float = 0.1) -> dict[str, object]:
    return {"params": list(weights), "lr": rate}


def drive(optimizer: Optimizer, loss: torch.Tensor) -> float:
    loss.backward()
    return optimizer.step(loss.detach())


def test_sgd_is_nesterov_by_hand():
    w = weight(1.0)
    optimizer = Optimizer([group(w)], Optimization("sgd", **FLAT), 2)
    # loss = 3w, g = 3. v = 3, w = 1 - 0.1 (3 + 2.7) = 0.43.
    drive(optimizer, (3 * w).sum())
    assert w.item() == pytest.approx(0.43)
    # v = 0.9 · 3 + 3 = 5.7, w = 0.43 - 0.1 (3 + 0.9 · 5.7) = -0.383.
    drive(optimizer, (3 * w).sum())
    assert w.item() == pytest.approx(-0.383)


@given(st.floats(0, 1), st.lists(st.floats(-3, 3), min_size=1, max_size=5))
def test_adamw_moves_as_torch_does(decay, slopes):
    ours, theirs = weight(1.0, -2.0), weight(1.0, -2.0)
    optimizer = Optimizer([group(ours)], Optimization(weight_decay=decay, **FLAT), len(slopes))
    reference = torch.optim.AdamW([theirs], lr=0.1, weight_decay=decay)
    for slope in slopes:
        drive(optimizer, (slope * ours**2).sum())
        reference.zero_grad()
        (slope * theirs**2).sum().backward()
        reference.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_decay_shortens_matrices_by_rate_times_decay_and_leaves_vectors_alone(kind):
    matrix, bias = weight(1.0), torch.nn.Parameter(torch.ones(1))
    optimizer = Optimizer([group(matrix, bias)], Optimization(kind, weight_decay=0.5, **FLAT), 1)
    # A gradient of 0: what moves is decay alone, 1 - 0.1 · 0.5.
    drive(optimizer, 0 * matrix.sum() + 0 * bias.sum())
    assert matrix.item() == pytest.approx(0.95)
    assert bias.item() == 1


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=2), st.floats(0.1, 10))
def test_gradients_longer_than_the_clip_are_shortened_together(slopes, clip):
    a, b = weight(0.0), weight(0.0)
    knobs = Optimization("sgd", **{**FLAT, "clip_norm": clip})
    optimizer = Optimizer([group(a, rate=1.0), group(b, rate=1.0)], knobs, 1)
    drive(optimizer, (slopes[0] * a + slopes[1] * b).sum())
    length = (slopes[0] ** 2 + slopes[1] ** 2) ** 0.5
    share = min(1.0, clip / length) if length else 1.0
    # A first step with Nesterov momentum moves by 1.9 g.
    expected = [-1.9 * share * slope for slope in slopes]
    assert [a.item(), b.item()] == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_accumulated_steps_move_once_by_their_mean():
    slow, whole = weight(1.0), weight(1.0)
    gathered = Optimizer([group(slow)], Optimization("sgd", accumulate=2, **FLAT), 3)
    at_once = Optimizer([group(whole)], Optimization("sgd", **FLAT), 2)
    assert drive(gathered, (2 * slow).sum()) == 0
    assert slow.item() == 1
    assert drive(gathered, (4 * slow).sum()) == 1
    # The third step is the last, so it does not wait for a fourth.
    assert drive(gathered, (5 * slow).sum()) == 1
    drive(at_once, (3 * whole).sum())
    drive(at_once, (5 * whole).sum())
    assert slow.item() == whole.item()


def test_each_move_is_made_at_its_groups_rate_by_the_schedule():
    fast, slow = weight(0.0), weight(0.0)
    knobs = Optimization("sgd", schedule="linear", warmup_share=0.5, floor_share=0, clip_norm=0)
    optimizer = Optimizer([group(fast, rate=1.0), group(slow, rate=0.1)], knobs, 4)
    # Warm-up of 2 steps, then a line to 0: 1/2, 1, 1, 1/2.
    assert [drive(optimizer, fast.sum() + slow.sum()) for _ in range(4)] == [0.5, 1, 1, 0.5]
    assert slow.item() == pytest.approx(fast.item() / 10)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training_before_any_weight_moved(value):
    w = weight(1.0)
    optimizer = Optimizer([group(w)], Optimization(), 5, phase="adapter")
    with pytest.raises(ModelError, match=r"adapter's loss is (nan|inf) in step 1 of 5: .*diverged"):
        drive(optimizer, value * w.sum())
    assert w.item() == 1


def test_a_gradient_that_is_not_finite_stops_training_before_any_weight_moved():
    w = weight(0.0)
    optimizer = Optimizer([group(w)], Optimization(), 5)
    with pytest.raises(ModelError, match="gradient is nan"):
        drive(optimizer, (w.abs().sqrt() * w.abs().sqrt()).sum())
    assert w.item() == 0


@pytest.mark.parametrize(("mixed", "kind"), [(True, torch.bfloat16), (False, torch.float32)])
def test_mixed_precision_multiplies_in_bfloat16_and_keeps_weights_in_float32(mixed, kind):
    w = torch.nn.Parameter(torch.ones(2, 2))
    with mixed_precision(Optimization(mixed_precision=mixed), "cpu"):
        product = torch.ones(1, 2) @ w
    assert product.dtype == kind
    product.sum().backward()
    assert w.grad is not None
    assert w.grad.dtype == w.dtype == torch.float32


def test_what_follows_a_move_sees_its_number_and_the_gradients_that_made_it():
    w, seen = weight(1.0), []
    optimizer = Optimizer(
        [group(w)],
        Optimization("sgd", accumulate=2, **FLAT),
        3,
        after_move=lambda move, moves: seen.append((move, moves, w.grad.item())),
    )
    for slope in (2, 4, 5):
        drive(optimizer, (slope * w).sum())
    assert seen == [(1, 2, 3), (2, 2, 5)]
    assert w.grad is None
