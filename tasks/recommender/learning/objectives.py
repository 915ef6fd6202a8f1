"""What a step minimises on the labels: a softmax over each slate, each candidate alone, or pairs.

Every objective takes a weight for each row and a share ε of label smoothing:

    listwise    −1/S Σ_s Σ_i t_i log softmax(z)_i     t_i = (1 − ε) w_i y_i / c_s + ε / n_s Σ_j w_j y_j / c_s
    pointwise   −1/N Σ_i w_i [t_i log σ(z_i) + (1 − t_i) log(1 − σ(z_i))]       t_i = (1 − ε) y_i + ε / 2
    bpr         −1/S Σ_s 1/P_s Σ_(i,j) w_i w_j [(1 − ε/2) log σ(z_i − z_j) + ε/2 log σ(z_j − z_i)]

with y_i the click, w_i the row's weight, c_s the clicks of the slate, n_s its rows, and P_s its pairs of
a click i and a skip j.

With inverse propensities as weights of the clicks and 1 for the skips, the listwise loss is in
expectation that of the true relevance (Ai et al. 2018). The other two are not: a skip that nobody
looked at still counts as one.

Shapes: N rows, S slates, P pairs.
"""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from tasks.recommender.recipe import Objective


def label_loss(
    logits_N: torch.Tensor,
    clicked_N: torch.Tensor,
    slate_N: torch.Tensor,
    num_slates: int,
    weight_N: torch.Tensor,
    objective: Objective,
) -> torch.Tensor:
    """The objective that the recipe names, over the rows of a step.

    A slate of one candidate has nothing to be compared with: listwise and BPR say nothing of it.
    There, both fall back to the cross-entropy of the candidate, which counts as one slate in the
    mean. So logs of single answers (TALLRec) train under every objective.
    """
    smoothing = objective.label_smoothing
    if objective.loss == "pointwise":
        return pointwise(logits_N, clicked_N, weight_N, smoothing)
    rank = listwise if objective.loss == "listwise" else bpr
    ranked = rank(logits_N, clicked_N, slate_N, num_slates, weight_N, smoothing)
    alone = is_alone(slate_N, num_slates)
    if not bool(alone.any()):
        return ranked
    answers = pointwise(logits_N[alone], clicked_N[alone], weight_N[alone], smoothing)
    return ranked + answers * (alone.sum() / num_slates)


def listwise(
    logits_N: torch.Tensor,
    clicked_N: torch.Tensor,
    slate_N: torch.Tensor,
    num_slates: int,
    weight_N: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean over slates of −log softmax at the clicks, which several clicks of a slate share.

    A slate without a click adds nothing, and only counts in the mean. Smoothing spreads a share of
    the clicks' weight evenly over the whole slate, as torch's cross_entropy does over its classes.

    Source: ListNet with one click at the top, Cao et al. (2007); smoothing: Szegedy et al. (2016).
    """
    log_share = log_softmax(logits_N, slate_N, num_slates)
    clicks = sum_by_slate(clicked_N, slate_N, num_slates)
    target = clicked_N / clicks.clamp(min=1)[slate_N]
    if weight_N is not None:
        target = target * weight_N
    if smoothing:
        rows = sum_by_slate(torch.ones_like(clicked_N), slate_N, num_slates)
        even = (sum_by_slate(target, slate_N, num_slates) / rows.clamp(min=1))[slate_N]
        target = torch.lerp(target, even, smoothing)
    return -(target * log_share).sum() / num_slates


def pointwise(
    logits_N: torch.Tensor,
    clicked_N: torch.Tensor,
    weight_N: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean binary cross-entropy of the candidates, each by itself.

    Smoothing moves both labels towards 1/2. Weights are not normalised: the mean is over rows.
    """
    target = clicked_N * (1 - smoothing) + smoothing / 2
    return binary_cross_entropy_with_logits(logits_N, target, weight_N)


def bpr(
    logits_N: torch.Tensor,
    clicked_N: torch.Tensor,
    slate_N: torch.Tensor,
    num_slates: int,
    weight_N: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean over slates of −log σ(click − skip), averaged over all such pairs of the slate.

    A slate without a pair adds nothing, and only counts in the mean. A pair weighs the product of
    its rows' weights; its label, that the click comes first, is smoothed towards 1/2.

    Source: Rendle et al. (2009), Bayesian personalized ranking from implicit feedback.
    """
    click_P, skip_P = click_skip_pairs(clicked_N, slate_N, num_slates)
    pairs = torch.bincount(slate_N[click_P], minlength=num_slates)
    share_P = 1.0 / pairs[slate_N[click_P]].to(logits_N.dtype)
    if weight_N is not None:
        share_P = share_P * weight_N[click_P] * weight_N[skip_P]
    ahead_P = logits_N[click_P] - logits_N[skip_P]
    # −log σ(−x) = x − log σ(x), so the smoothed pair costs half its share of x more.
    loss_P = smoothing / 2 * ahead_P - logsigmoid(ahead_P)
    return (share_P * loss_P).sum() / num_slates


def click_skip_pairs(
    clicked_N: torch.Tensor, slate_N: torch.Tensor, num_slates: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(P,) rows of the clicks and (P,) of the skips: every pair of both within a slate."""
    click = torch.nonzero(clicked_N > 0).squeeze(1)
    skip = torch.nonzero(clicked_N <= 0).squeeze(1)
    skip = skip[torch.argsort(slate_N[skip], stable=True)]
    skips = torch.bincount(slate_N[skip], minlength=num_slates)
    first = torch.cumsum(skips, 0) - skips
    partners = skips[slate_N[click]]
    click_P = click.repeat_interleave(partners)
    within_P = torch.arange(len(click_P), device=click.device)
    within_P = within_P - (torch.cumsum(partners, 0) - partners).repeat_interleave(partners)
    return click_P, skip[first[slate_N[click_P]] + within_P]


def log_softmax(logits_N: torch.Tensor, slate_N: torch.Tensor, num_slates: int) -> torch.Tensor:
    """(N,) log of each row's share in the softmax over its slate."""
    # One shift a slate keeps exp from overflowing, and cancels.
    highest = torch.full((num_slates,), -torch.inf, dtype=logits_N.dtype, device=logits_N.device)
    highest = highest.scatter_reduce(0, slate_N, logits_N.detach(), "amax")
    shifted = logits_N - highest[slate_N]
    return shifted - sum_by_slate(shifted.exp(), slate_N, num_slates).log()[slate_N]


def sum_by_slate(values_N: torch.Tensor, slate_N: torch.Tensor, num_slates: int) -> torch.Tensor:
    """(S,) sum of the values in each slate."""
    total = torch.zeros(num_slates, dtype=values_N.dtype, device=values_N.device)
    return total.index_add(0, slate_N, values_N)


def is_alone(slate_N: torch.Tensor, num_slates: int) -> torch.Tensor:
    """(N,) whether the row is its slate's only candidate."""
    return torch.bincount(slate_N, minlength=num_slates)[slate_N] == 1
