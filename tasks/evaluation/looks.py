"""The interval of one challenger's gain after several days, each of them a look at it.

Shapes: S slates, U users, K days.
"""

from dataclasses import dataclass

import numpy as np

from tasks.errors import EvaluationError
from tasks.evaluation.bar import Bar
from tasks.evaluation.clusters import clustered_error
from tasks.evaluation.item_gains import Shared, running_sums
from tasks.evaluation.sequential import look_level
from tasks.evaluation.slates import Floats, Ints
from tasks.evaluation.tails import degrees_of, distance, skewness_of

MISSED = 0.05
"""Probability, over all looks, that the interval misses the true gain on either side."""


@dataclass(frozen=True)
class Look:
    """What is known of the gain after the days up to one."""

    gain: float
    users_error: float
    """Of the gain, from the users' influence."""
    items_error: float
    """Of the gain, from what slates of different users share by showing the same items."""
    degrees: float
    """Degrees of freedom of the error."""
    skewness: float
    """Of the gain by its users, as `distance` takes it for the lower end."""
    reflected_skewness: float
    """The same for the upper end: that of the gain of the champion."""
    impressions: int
    users: int

    @property
    def error(self) -> float:
        """Standard error of the gain."""
        return float(np.hypot(self.users_error, self.items_error))


def upper_level(bar: Bar) -> float:
    """The error of the interval's upper ends over all looks: what the lower ends leave of MISSED.

    It is larger than the lower ends', because it costs less: an upper end that is too low rejects a
    good challenger, and tomorrow there is another; a lower end that is too high puts a bad one live.
    """
    return max(MISSED - bar.level, bar.level)


def looks_of(
    gains: Floats, user: Ints, day: Ints, min_impressions: int, shared: Shared | None = None
) -> list[Look]:
    """The looks, oldest first: each is over the slates of the days up to it.

    A day after which there were too few slates for any verdict, or only one user, was no look and
    spent nothing. The newest day always is one.

    Args:
        gains: (S,) challenger's AUC less champion's.
        user: (S,) number of the slate's user.
        day: (S,) number of its day, from 0.
        shared: what the items share; without it they are taken to be no source of error.

    Raises:
        EvaluationError: all slates are one user's.
    """
    if len(np.unique(user)) < 2:
        raise EvaluationError(
            f"All {len(gains):,} judged impressions are one user's, and the interval needs at "
            "least two users. Widen the holdout or check the user_id column."
        )
    days, users = int(day.max()) + 1, int(user.max()) + 1
    cell, shape = day * users + user, (days, users)
    gain_KU = running_sums(cell, gains, shape)
    slates_KU = running_sums(cell, np.ones(len(gains)), shape)
    looks = []
    for last in range(days):
        seen = slates_KU[last] > 0
        enough = slates_KU[last].sum() >= min_impressions and np.count_nonzero(seen) > 1
        if enough or last == days - 1:
            looks.append(_look(gain_KU[last, seen], slates_KU[last, seen], shared, last))
    return looks


def spent_interval(looks: list[Look], bar: Bar) -> tuple[float, float]:
    """The newest look's interval: no lower end of all looks is above the truth, but for `bar.level`.

    Its half-widths are `distance` standard errors at the levels of `look_level`. AUC gains lie in
    [−1, 1], and so does the interval.
    """
    newest = looks[-1]
    if newest.error == 0:
        return newest.gain, newest.gain
    # a look at slates that all gain the same, nothing, could show nothing and spent nothing
    information = np.array([1 / look.error**2 for look in looks if look.error > 0])
    below, above = (
        distance(look_level(information, level, bar.looks), newest.degrees, skewness)
        for skewness, level in (
            (newest.skewness, bar.level),
            (newest.reflected_skewness, upper_level(bar)),
        )
    )
    ends = [newest.gain - below * newest.error, newest.gain + above * newest.error]
    low, high = np.clip(ends, -1, 1)
    return float(low), float(high)


def _look(gain_U: Floats, slates_U: Floats, shared: Shared | None, last: int) -> Look:
    slates = slates_U.sum()
    gain = float(gain_U.sum() / slates)
    users_error = clustered_error(gain_U, slates_U)
    residual_U = gain_U - gain * slates_U
    ours = users_error**2
    theirs, item_degrees = (0.0, 1.0) if shared is None else shared.variance(last, gain, slates)
    both = ours + theirs
    degrees, skewness, reflected = 1.0, 0.0, 0.0
    if ours > 0:
        user_degrees = degrees_of(residual_U)
        degrees = both**2 / (ours**2 / user_degrees + theirs**2 / item_degrees)
        part = (ours / both) ** 1.5
        skewness, reflected = (part * skewness_of(sign * residual_U) for sign in (1, -1))
    return Look(
        gain=gain,
        users_error=users_error,
        items_error=float(np.sqrt(theirs)),
        degrees=degrees,
        skewness=skewness,
        reflected_skewness=reflected,
        impressions=int(slates),
        users=len(slates_U),
    )
