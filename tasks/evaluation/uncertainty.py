"""How sure a day's impression AUC is, and a difference of two, with users as the pieces of evidence."""

from typing import NamedTuple

from tasks.evaluation.clusters import clustered_error, sums_by_user, user_by_slate
from tasks.evaluation.metrics import auc_by_slate
from tasks.evaluation.slates import Column, Floats, Slates, group_slates


class Estimate(NamedTuple):
    """A mean over slates."""

    value: float
    standard_error: float
    """Clustered by user: one user's slates resemble each other."""


def estimate_auc(
    scores: Column, clicked: Column, impression_ids: Column, user_ids: Column
) -> Estimate:
    """Impression AUC of (N,) scores.

    Raises:
        EvaluationError: no slate ranks, or all belong to one user.
    """
    slates = group_slates(clicked, impression_ids)
    return _mean(auc_by_slate(scores, slates), slates, user_ids)


def estimate_gain(
    scores: Column,
    than: Column,
    clicked: Column,
    impression_ids: Column,
    user_ids: Column,
) -> Estimate:
    """How much higher impression AUC is by (N,) `scores` than by (N,) `than`, paired by slate.

    Raises:
        EvaluationError: no slate ranks, or all belong to one user.
    """
    slates = group_slates(clicked, impression_ids)
    gain = auc_by_slate(scores, slates) - auc_by_slate(than, slates)
    return _mean(gain, slates, user_ids)


def _mean(by_slate: Floats, slates: Slates, user_ids: Column) -> Estimate:
    slates.require_ranking()
    users = user_by_slate(slates, user_ids)[slates.ranks]
    total, number = sums_by_user(by_slate[slates.ranks], users)
    return Estimate(float(total.sum() / number.sum()), clustered_error(total, number))
