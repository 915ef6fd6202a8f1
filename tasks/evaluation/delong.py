"""The gain in pooled AUC, with DeLong's error over users.

Shapes: N rows, P clicks, Q skips, U users.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tasks.errors import EvaluationError
from tasks.evaluation.slates import (
    Bools,
    Column,
    Floats,
    Ints,
    check_clicked,
    check_scores,
    factorise,
    sum_by,
)


@dataclass(frozen=True)
class PooledGain:
    """Two models' AUC over all rows at once."""

    champion_auc: float
    challenger_auc: float
    gain: float
    """challenger_auc − champion_auc."""
    standard_error: float
    low: float
    """Lower end of the gain's two-sided interval."""
    high: float
    confidence: float
    """Of the interval: that of one look, for it decides nothing."""


def pooled_gain(
    champion_scores: Column,
    challenger_scores: Column,
    clicked: Column,
    user_ids: Column,
    *,
    confidence: float = 0.95,
) -> PooledGain:
    """The challenger's gain in pooled AUC on N rows; users are the independent pieces.

    With V(click) the share of all skips that score below it and V(skip) the share of all clicks
    above it (a tie counts one half), AUC is the mean of either, and with D = V of the challenger less
    V of the champion, D_u the sum over a user's rows and n_u their number,

        S_click = U_c/(U_c − 1) · Σ_u (D_u − gain · n_u)² / P      over users' clicks, U_c with any
        S_skip  likewise over Q skips,     S_both = U/(U − 1) · Σ_u (click term)(skip term)
        Var(gain) = S_click/P + S_skip/Q + 2 · S_both/(P · Q).

    With each row a user of its own this is DeLong's variance. Time is that of two sorts.

    Args:
        champion_scores: (N,) higher means more likely clicked; any monotone scale.
        challenger_scores: (N,) likewise.
        clicked: (N,) whether the candidate was clicked.
        user_ids: (N,) whose row it is.
        confidence: of the two-sided normal interval.

    Raises:
        EvaluationError: fewer than two users have clicks, or fewer than two have skips.

    Source: DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44; by ranks: Sun & Xu (2014), IEEE
        Signal Processing Letters 21; clustered: Obuchowski (1997), Biometrics 53.
    """
    flags = check_clicked(clicked)
    user, _ = factorise(user_ids, "user_id")
    _require_users(flags, user)
    old, new = (
        placements(check_scores(scores, len(flags)), flags)
        for scores in (champion_scores, challenger_scores)
    )
    champion_auc, challenger_auc = float(old[flags].mean()), float(new[flags].mean())
    gain = challenger_auc - champion_auc
    click, skip = (_residuals(new - old, gain, chosen, user) for chosen in (flags, ~flags))
    error = float(np.sqrt(max(0.0, _variance(click, skip, flags, user))))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return PooledGain(
        champion_auc, challenger_auc, gain, error, gain - reach, gain + reach, confidence
    )


def placements(scores: Floats, clicked: Bools) -> Floats:
    """(N,) for a click, the share of skips that score lower; for a skip, of clicks that score higher.

    From mid-ranks: those among all rows less those among the rows of the same label are the rows of
    the other label below, ties counting one half.
    """
    below = _midranks(scores)
    for chosen in (clicked, ~clicked):
        below[chosen] -= _midranks(scores[chosen])
    clicks = np.count_nonzero(clicked)
    return np.where(clicked, below / (len(scores) - clicks), 1 - below / clicks)


def _midranks(scores: Floats) -> Floats:
    """(N,) rank of each score from 1, ties at their mean."""
    _, value, count = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[value]


def _residuals(difference: Floats, gain: float, chosen: Bools, user: Ints) -> Floats:
    """(U,) Σ (D − gain) over each user's chosen rows."""
    return sum_by(user[chosen], difference[chosen] - gain, int(user.max()) + 1)


def _require_users(clicked: Bools, user: Ints) -> None:
    with_clicks, with_skips = (len(np.unique(user[chosen])) for chosen in (clicked, ~clicked))
    if min(with_clicks, with_skips) < 2:
        raise EvaluationError(
            f"{with_clicks:,} users have clicks and {with_skips:,} have skips, and the error of a "
            "pooled AUC needs two of each. Widen the holdout or check the user_id column."
        )


def _variance(click: Floats, skip: Floats, clicked: Bools, user: Ints) -> float:
    num_clicks, num_users = np.count_nonzero(clicked), len(click)
    num_skips = len(clicked) - num_clicks
    with_clicks, with_skips = (len(np.unique(user[chosen])) for chosen in (clicked, ~clicked))
    return float(
        with_clicks / (with_clicks - 1) * (click @ click) / num_clicks**2
        + with_skips / (with_skips - 1) * (skip @ skip) / num_skips**2
        + 2 * num_users / (num_users - 1) * (click @ skip) / (num_clicks * num_skips)
    )
