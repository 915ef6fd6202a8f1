"""Whether the champion's prequential AUC fell, by more than days and users vary."""

import math
from collections.abc import Sequence
from datetime import date
from statistics import fmean, variance
from typing import NamedTuple

FEWEST_DAYS = 3
"""Two days tell next to nothing of how days vary: Student's t of one degree of freedom is 6.3."""


class DayScore(NamedTuple):
    """The champion's prequential record of one day; None where the day ranks nothing."""

    day: date
    champion_auc: float | None
    zero_shot_auc: float | None
    standard_error: float | None = None
    """Of champion_auc, by resampling users in thought: impressions of one user resemble each other."""


class Fall(NamedTuple):
    """A day's AUC below the mean of the days before it."""

    usual: float
    drop: float
    low: float
    """Lower bound of the drop; above 0 it is more than chance."""


def measure_fall(
    auc: float,
    standard_error: float | None,
    history: Sequence[tuple[float, float | None]],
    *,
    confidence: float,
) -> Fall:
    """By how much `auc` is below the mean of `history`, with the one-sided lower bound.

    A day's AUC is a_d = a + b_d + e_d: what the world is like that day, b_d with variance τ², and the
    users who happened to come, e_d with the day's own standard error s_d. Of the m days before,

        τ² = max(0, variance(a_d) − mean(s_d²))
        drop ≥ mean(a_d) − a_today − t · √(τ² (1 + 1/m) + s_today² + mean(s_d²)/m)

    with Student's t of m − 1 degrees of freedom, since τ² is estimated from m days. A record without
    standard errors leaves all of the variance to τ².

    Args:
        auc: of the day.
        standard_error: of `auc`, clustered by user; None for that of a day of the history.
        history: AUC and standard error of at least FEWEST_DAYS days.
        confidence: one-sided.

    Source: method of moments for random effects, DerSimonian & Laird (1986); prediction interval,
    Higgins, Thompson & Spiegelhalter (2009).
    """
    from scipy.stats import t

    values = [value for value, _ in history]
    sampling = fmean([(error or 0.0) ** 2 for _, error in history])
    between = max(variance(values) - sampling, 0.0)
    today = sampling if standard_error is None else standard_error**2
    spread = math.sqrt(between * (1 + 1 / len(values)) + today + sampling / len(values))
    drop = fmean(values) - auc
    reach = float(t.ppf(confidence, len(values) - 1)) * spread
    return Fall(fmean(values), drop, drop - reach)
