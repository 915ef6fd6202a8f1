"""How far two rankings of the same slates are apart.

A slate's ranking is the softmax of its logits; a candidate that is alone is clicked or not, with
probability σ of its logit. Between slates, the mean.

Shapes: N rows, S slates.
"""

import torch
from torch.nn.functional import logsigmoid

from tasks.recommender.learning.objectives import is_alone, log_softmax


def divergence(
    true_N: torch.Tensor, other_N: torch.Tensor, slate_N: torch.Tensor, num_slates: int
) -> torch.Tensor:
    """Mean over slates of KL(true ‖ other) = Σ p log(p / q), in nats; both from logits.

    Differentiable in both. 0 where each slate's logits differ by a constant (by nothing, for a
    candidate that is alone).
    """
    true_log, other_log = (log_softmax(z, slate_N, num_slates) for z in (true_N, other_N))
    row = true_log.exp() * (true_log - other_log)
    alone = is_alone(slate_N, num_slates)
    if bool(alone.any()):
        row = torch.where(alone, _bernoulli(true_N, other_N), row)
    return row.sum() / num_slates


def r_drop(
    first_N: torch.Tensor, second_N: torch.Tensor, slate_N: torch.Tensor, num_slates: int
) -> torch.Tensor:
    """(KL(p ‖ q) + KL(q ‖ p)) / 2 of two passes with different dropout.

    Source: Liang et al. (2021), R-Drop: regularized dropout for neural networks.
    """
    there = divergence(first_N, second_N, slate_N, num_slates)
    back = divergence(second_N, first_N, slate_N, num_slates)
    return (there + back) / 2


def distillation(
    logits_N: torch.Tensor,
    start_N: torch.Tensor,
    slate_N: torch.Tensor,
    num_slates: int,
    temperature: float,
) -> torch.Tensor:
    """T² KL(softmax(start / T) ‖ softmax(logits / T)): stay close to how the start ranks.

    T² keeps the gradient's size whatever the temperature. The start has no gradient.

    Source: Hinton et al. (2015), Distilling the knowledge in a neural network.
    """
    true_N, other_N = start_N.detach() / temperature, logits_N / temperature
    return temperature**2 * divergence(true_N, other_N, slate_N, num_slates)


def _bernoulli(true_N: torch.Tensor, other_N: torch.Tensor) -> torch.Tensor:
    """(N,) divergence of two click probabilities."""
    clicked = true_N.sigmoid() * (logsigmoid(true_N) - logsigmoid(other_N))
    skipped = (-true_N).sigmoid() * (logsigmoid(-true_N) - logsigmoid(-other_N))
    return clicked + skipped
