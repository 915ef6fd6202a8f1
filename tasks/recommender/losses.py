"""What stops a training: how well each slate of the validation is ranked.

Shapes: N rows, S slates, V values.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranking_aucs(scores: Floats, clicked: Floats, slate: NDArray[np.int64]) -> Floats:
    """(V,) how well each slate is ranked; their mean is the AUC, and they vary as it does.

    A slate that holds a click and a skip gives its own AUC. Slates of one candidate are ranked
    against each other, as TALLRec's metric does: each gives its jackknife share of the AUC over all
    of them, as long as there is a click and a skip among them.
    """
    alone = (np.bincount(slate)[slate] == 1) if len(slate) else np.empty(0, np.bool_)
    within = slate_aucs(scores[~alone], clicked[~alone], slate[~alone])
    return np.concatenate([within, pooled_aucs(scores[alone], clicked[alone])])


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


def pooled_aucs(scores: Floats, clicked: Floats) -> Floats:
    """(N,) each row's share of the AUC over all rows; none if nothing or everything was clicked.

    With m clicks and n skips, a click that is ahead of a share v of the skips gives
    A + (m + n) / m · (v − A), a skip behind a share v of the clicks A + (m + n) / n · (v − A). Their mean
    is the AUC A, and their variance over N is DeLong's of it, to terms of 1/N.

    Source: DeLong, DeLong and Clarke-Pearson (1988).
    """
    click = clicked > 0
    num, clicks = len(click), int(click.sum())
    if not 0 < clicks < num:
        return np.empty(0)
    ahead = np.empty(num)
    ahead[click] = _share_below(scores[click], scores[~click])
    ahead[~click] = 1 - _share_below(scores[~click], scores[click])
    auc = ahead[click].mean()
    return auc + num / np.where(click, clicks, num - clicks) * (ahead - auc)


def _share_below(values: Floats, others: Floats) -> Floats:
    """Share of `others` that each value exceeds; a tie counts one half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    return (below + np.searchsorted(ordered, values, side="right")) / (2 * len(ordered))
