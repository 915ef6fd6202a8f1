"""From a ranking score to a click probability, without changing the ranking.

Shapes: N rows.
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tasks.recommender.head import Features, HybridHead

RIDGE = 20.0
"""Rows' worth of belief that the slope is 1 and that a slate's size does not matter."""
NEWTON_STEPS = 50
TOLERANCE = 1e-8


@torch.no_grad()
def calibrate(head: HybridHead, features: Features, clicked_N: torch.Tensor) -> None:
    """Fit slope, offset and size term of `head` on rows that it was not trained on.

    Platt scaling with one more term: in a slate of many, each candidate is clicked less often. All
    rows of a slate share that term and the offset, and the slope stays positive, so order is kept.

    Source: Platt (1999); fitted by Newton's method on the ridged log loss.
    """
    if not len(clicked_N):
        return
    score_N = head.rank(features).double()
    inputs_N3 = torch.stack([score_N, torch.ones_like(score_N), features.log_size.double()], dim=1)
    clicked_N = clicked_N.double().to(score_N.device)
    prior = torch.stack([torch.ones_like(head.slope), head.offset, torch.zeros_like(head.slope)])
    prior = prior.double()
    # So little on the offset only keeps it finite where nothing was clicked.
    strength = torch.tensor([RIDGE, 0.01, RIDGE], dtype=torch.float64, device=score_N.device)
    weight = _newton(inputs_N3, clicked_N, prior, strength)
    if bool(torch.isfinite(weight).all()) and weight[0] > 0:
        head.slope.copy_(weight[0])
        head.offset.copy_(weight[1])
        head.size_slope.copy_(weight[2])


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
