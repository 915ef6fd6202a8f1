"""Not worse by more than a margin: bounds of ratios whose independent pieces are users.

Every question of a guardrail is about ratios of sums: gains over slates, losses over candidates,
expected over observed clicks, exposure over supply. They are linearised at the users (the delta
method), so one set of sums answers all of them.

Shapes: U users, J ratios, P contrasts of the challenger's ratios, Q of the champion's.
"""

from dataclasses import dataclass

import numpy as np

from tasks.errors import EvaluationError
from tasks.evaluation.slates import Floats
from tasks.evaluation.tails import degrees_of, distance


@dataclass(frozen=True)
class Bounds:
    """A figure with two ends, each of which is passed by the truth with the level's probability."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratios:
    """J ratios of sums over users, and what each user moved them by."""

    value: Floats
    """(J,) Σ above / Σ below."""
    influence: Floats
    """(U, J) (above_u − value · below_u) / Σ below."""

    @property
    def covariance(self) -> Floats:
        """(J, J) by the users' influence, U/(U−1) · Σ_u e_u e_uᵀ."""
        users = len(self.influence)
        return users / (users - 1) * self.influence.T @ self.influence


def ratios(above: Floats, below: Floats) -> Ratios:
    """J ratios Σ above / Σ below over U users, each user's pieces taken together (clustered).

    Args:
        above: (U, J) each user's part of the numerators.
        below: (U, J) each user's part of the denominators, 0 where a user has no part.

    Raises:
        EvaluationError: fewer than two users, or a denominator that is 0.

    Source: Liang & Zeger (1986), Biometrika 73; Deng et al. (KDD 2018) for ratios of online metrics.
    """
    total = below.sum(axis=0)
    if len(above) < 2 or (total <= 0).any():
        raise EvaluationError(
            f"{len(above):,} users with totals from {total.min():g} bound no ratio: it takes two users "
            "and something to divide by. Leave the slice or group out, or widen the evidence."
        )
    value = above.sum(axis=0) / total
    return Ratios(value, (above - value * below) / total)


def bounds(found: Ratios, level: float, items: tuple[float, float] = (0.0, 1.0)) -> Bounds:
    """The first ratio with a lower and an upper end, each one-sided at `level`.

    Args:
        found: the ratio and its users' influence.
        level: of each end.
        items: variance that slates of different users share because they show the same items, and its
            degrees of freedom; it adds to that by users.
    """
    value, influence = float(found.value[0]), found.influence[:, 0]
    ours, (theirs, item_degrees) = float(found.covariance[0, 0]), items
    both = ours + theirs
    if ours == 0:
        return Bounds(value, value, value)
    degrees = both**2 / (ours**2 / degrees_of(influence) + theirs**2 / item_degrees)
    below, above = (
        distance(level, degrees, sign * _skewness(influence) * (ours / both) ** 1.5)
        for sign in (1, -1)
    )
    error = float(np.sqrt(both))
    return Bounds(value, value - below * error, value + above * error)


def widening(old: Ratios, new: Ratios, contrasts: Floats, level: float) -> Bounds:
    """How much more the challenger's largest contrast is than the champion's, with one-sided ends.

    With c over the P rows of `contrasts`, the figure is max c·new − max c·old. Between groups the
    contrasts are all differences of two, and the maximum is the gap. The upper end is

        max over p of  min( d(p, p) + h(p, p; ¾ level),  min over q of d(p, q) + h(p, q; ¼ level/P) )

    with d(p, q) = p·new − q·old and h its standard error times the distance of an end. It holds for
    whichever p is the largest in truth, so no choice of p is paid for. The champion's q is chosen by the
    data, and paid for by Bonferroni; most of the level is kept for the same contrast under both models,
    where most of the noise cancels. Without paying, a gap that widened by the margin from nothing was
    passed 20 % of the time at a level of 10 %. The lower end is the largest over p of the smallest
    d − h(level) over q.

    Args:
        old: (J,) the champion's ratios, by the same users as
        new: (J,) the challenger's.
        contrasts: (P, J) linear functions of the ratios, compared at the same scale.
        level: one-sided, of each end.

    Source: union and intersection of tests, Berger (1982), Technometrics 24.
    """
    ours, theirs = contrasts @ new.value, contrasts @ old.value
    difference_PP = ours[:, None] - theirs
    influence = np.concatenate([new.influence, old.influence], axis=1)
    error_PP = _errors(Ratios(np.concatenate([new.value, old.value]), influence), contrasts)
    change_UP = (old.influence - new.influence) @ contrasts.T
    same_P = np.array([_distance(change, 0.75 * level) for change in change_UP.T])
    other = _farthest(influence, 0.25 * level / len(contrasts))
    lower = _farthest(influence, level)
    high_P = np.minimum(
        np.diagonal(difference_PP) + same_P * np.diagonal(error_PP),
        (difference_PP + other * error_PP).min(axis=1),
    )
    return Bounds(
        value=float(ours.max() - theirs.max()),
        low=float((difference_PP - lower * error_PP).min(axis=1).max()),
        high=float(high_P.max()),
    )


def _errors(both: Ratios, contrasts: Floats) -> Floats:
    """(P, P) standard error of each of the challenger's contrasts less each of the champion's."""
    num = contrasts.shape[1]
    covariance = both.covariance
    ours, theirs = (
        np.einsum("pj,jk,pk->p", contrasts, block, contrasts)
        for block in (covariance[:num, :num], covariance[num:, num:])
    )
    cross = contrasts @ covariance[:num, num:] @ contrasts.T
    return np.sqrt(np.maximum(ours[:, None] + theirs - 2 * cross, 0))


def pairs(num: int) -> Floats:
    """(num · (num − 1), num) every difference of two of `num` ratios, in both directions."""
    one = np.eye(num)
    differences = one[:, None] - one
    return differences[~np.eye(num, dtype=np.bool_)]


def _farthest(influence: Floats, level: float) -> float:
    """The longest distance of any ratio's end: what the hardest ratio needs is given to all."""
    return max(_distance(sign * column, level) for column in influence.T for sign in (1, -1))


def _distance(influence: Floats, level: float) -> float:
    """How many standard errors a lower end is away, and 0 where nobody moves the figure."""
    if not influence.any():
        return 0.0
    return distance(level, degrees_of(influence), _skewness(influence))


def _skewness(influence: Floats) -> float:
    """Σe³ / (Σe²)^{3/2}, as it was seen.

    The gate takes it two standard errors worse, because its level is far out in the tail. At a
    guardrail's level that would double the distance for a slice of 25 users, and none would pass.
    """
    squares = influence**2
    return float((squares @ influence) / squares.sum() ** 1.5)
