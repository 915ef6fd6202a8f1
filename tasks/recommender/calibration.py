"""From a ranking score to a click probability, without changing the ranking.

Shapes: N rows.
"""

from typing import Protocol

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tasks.recommender.head import Features, HybridHead

RIDGE = 20.0
"""Rows' worth of belief that the slope is 1 and that a slate's size does not matter."""
NEWTON_STEPS = 50
TOLERANCE = 1e-8


class Calibrated(Protocol):
    """Log-odds of a click are slope · score + offset + size_slope · log size."""

    slope: torch.Tensor
    offset: torch.Tensor
    size_slope: torch.Tensor


def calibrate(head: HybridHead, features: Features, clicked_N: torch.Tensor) -> None:
    """Fit slope, offset and size term of `head` on rows that it was not trained on."""
    with torch.no_grad():
        score_N = head.rank(features)
    calibrate_scores(head, score_N, features.log_size, clicked_N)


@torch.no_grad()
def calibrate_scores(
    target: Calibrated, score_N: torch.Tensor, log_size_N: torch.Tensor, clicked_N: torch.Tensor
) -> None:
    """Fit the three numbers of `target` in place, from those that it has.

    Platt scaling with one more term: in a slate of many, each candidate is clicked less often. All
    rows of a slate share that term and the offset, and the slope stays positive, so order is kept.

    Args:
        target: a fit that fails leaves it as it is.
        score_N: what the candidates are ranked by.
        log_size_N: log of the slate's size over TYPICAL_SLATE.
        clicked_N: whether each was clicked.

    Source: Platt (1999); fitted by Newton's method on the ridged log loss.
    """
    if not len(clicked_N):
        return
    score_N = score_N.double()
    inputs_N3 = torch.stack([score_N, torch.ones_like(score_N), log_size_N.double()], dim=1)
    clicked_N = clicked_N.double().to(score_N.device)
    one = torch.ones_like(target.slope)
    prior = torch.stack([one, target.offset, torch.zeros_like(one)]).double()
    # So little on the offset only keeps it finite where nothing was clicked.
    strength = torch.tensor([RIDGE, 0.01, RIDGE], dtype=torch.float64, device=score_N.device)
    weight = _newton(inputs_N3, clicked_N, prior, strength)
    if bool(torch.isfinite(weight).all()) and weight[0] > 0:
        target.slope.copy_(weight[0])
        target.offset.copy_(weight[1])
        target.size_slope.copy_(weight[2])


def _newton(
    inputs_N3: torch.Tensor, clicked_N: torch.Tensor, prior: torch.Tensor, strength: torch.Tensor
) -> torch.Tensor:
    """The weights with the least log loss plus ridge around `prior`."""

    def objective(weight: torch.Tensor) -> torch.Tensor:
        loss = binary_cross_entropy_with_logits(inputs_N3 @ weight, clicked_N, reduction="sum")
        return loss + (strength * (weight - prior) ** 2).sum() / 2

    weight = prior.clone()
    for _ in range(NEWTON_STEPS):
        rate_N = (inputs_N3 @ weight).sigmoid()
        gradient = inputs_N3.T @ (rate_N - clicked_N) + strength * (weight - prior)
        spread_N1 = (rate_N * (1 - rate_N)).unsqueeze(1)
        curvature = inputs_N3.T @ (inputs_N3 * spread_N1) + torch.diag(strength)
        step = torch.linalg.solve(curvature, gradient)
        # A full step overshoots where the scores are nearly separable.
        while objective(weight - step) > objective(weight) and step.abs().max() > TOLERANCE:
            step = step / 2
        weight = weight - step
        if step.abs().max() < TOLERANCE:
            break
    return weight
