"""What training minimises, and what stops it.

Shapes: N rows, S slates.
"""

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def listwise_loss(
    logits_N: torch.Tensor, clicked_N: torch.Tensor, slate_N: torch.Tensor, num_slates: int
) -> torch.Tensor:
    """Mean over slates of −log softmax at the clicks, which several clicks of a slate share.

    A slate without a click adds nothing, and only counts in the mean.

    Source: ListNet with one click at the top, Cao et al. (2007).
    """
    # One shift a slate keeps exp from overflowing, and cancels.
    highest = torch.full((num_slates,), -torch.inf, device=logits_N.device)
    highest = highest.scatter_reduce(0, slate_N, logits_N.detach(), "amax")
    shifted = logits_N - highest[slate_N]
    total = torch.zeros_like(highest).index_add(0, slate_N, shifted.exp())
    log_share = shifted - total.log()[slate_N]
    clicks = torch.zeros_like(highest).index_add(0, slate_N, clicked_N)
    weight = clicked_N / clicks.clamp(min=1)[slate_N]
    return -(weight * log_share).sum() / num_slates


def slate_aucs(scores: Floats, clicked: Floats, slate: NDArray[np.int64]) -> Floats:
    """(V,) AUC of each slate that holds a click and a skip, in slate order; ties count one half."""
    order = np.lexsort((scores, slate))
    score, group, click = scores[order], slate[order], clicked[order]
    starts = np.flatnonzero(np.append(True, (group[1:] != group[:-1]) | (score[1:] != score[:-1])))
    length = np.diff(np.append(starts, len(score)))
    rank = np.repeat(starts + (length + 1) / 2, length)
    rows = np.bincount(group)
    clicks = np.bincount(group, click)
    first = np.cumsum(rows) - rows
    rank_sum = np.bincount(group, click * (rank - first[group]))
    ranks = (clicks > 0) & (clicks < rows)
    pairs = (clicks * (rows - clicks))[ranks]
    return (rank_sum - clicks * (clicks + 1) / 2)[ranks] / pairs
