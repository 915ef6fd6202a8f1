"""What is usual for a column: how large its effects were on days on which nothing happened.

An effect is a root of a sum of squares: of what changed, of what moves from day to day anyway, and
of what sampling adds. Its power of two thirds is close to normal whatever the number of squares
(Wilson and Hilferty 1931), so a day is held against the days before it as one more draw from a normal
distribution whose mean and variance are only estimated: a Student interval for a prediction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MIN_DAYS = 14
"""Two of each weekday: fewer days do not say what is usual."""

POWER = 2 / 3
"""Of an effect, that makes it about normal."""

OUTLYING = 5.0
"""Robust standard deviations above the median beyond which a day is no usual one."""

INDEPENDENT = 0.5
"""Share of the days that count as independent ones: neighbours share their stories, and their
references overlap. With all of them, simulated quiet days alarmed twice as often as is said."""

RHYTHM = 2.0
"""Variance between weekdays over that within them that chance gives one time in ten."""

Floats = npt.NDArray[np.float64]


class PastEffect(NamedTuple):
    """One column's effect on an earlier day, against the days before it."""

    day: date
    value: float
    noise: float
    """Root mean square of `value` if nothing had changed."""


@dataclass(frozen=True)
class Usual:
    """The effects to expect of a column on a day on which nothing happens."""

    days: int
    """How many days it was learned from."""
    size: float
    """The typical effect, in the column's unit."""
    centre: float
    """The same to the POWER, where effects are about normal."""
    spread: float
    """Standard error of one more effect to the POWER, that of the centre included."""
    degrees: float
    """Of freedom, of Student's distribution."""

    def chance(self, value: float) -> float:
        """Probability that a usual day shows an effect of `value` or more."""
        from scipy.special import stdtr

        beyond = value**POWER - self.centre
        if self.spread == 0:
            return float(beyond <= 1e-12)
        return float(stdtr(self.degrees, -beyond / self.spread))

    def beyond(self, value: float) -> float:
        """The size of the shift itself, √(value² − size²): squares add; 0 within the usual."""
        return math.sqrt(max(value**2 - self.size**2, 0.0))

    def high(self, chance: float) -> float:
        """The effect that a usual day reaches with `chance`: the upper end of what is usual."""
        from scipy.special import stdtrit

        reach = self.centre + self.spread * float(stdtrit(self.degrees, 1 - chance))
        return float(max(reach, 0.0) ** (1 / POWER))


def usual_effect(past: Sequence[PastEffect], day: date, noise: float) -> Usual | None:
    """What is usual for `day`, by its weekday as far as the weekdays differ.

    Days of other sizes are brought to the day's size: with τ² the mean variation beyond sampling,
    an effect is scaled by √((τ² + noise²) / (τ² + its noise²)). So a small day is not held against
    what large days showed. Days far above all others are not looked at.

    Args:
        past: effects of days on which nothing happened.
        noise: of the day's own effect.

    Returns:
        None with fewer than MIN_DAYS days.
    """
    if len(past) < MIN_DAYS:
        return None
    scaled = _at_size(past, noise) ** POWER
    weekdays = np.array([each.day.weekday() for each in past])
    inlying = _inlying(scaled, weekdays)
    return _predict(scaled[inlying], weekdays[inlying], day.weekday())


def _at_size(past: Sequence[PastEffect], noise: float) -> Floats:
    values = np.array([each.value for each in past])
    noises = np.array([each.noise for each in past])
    varies = max(float(np.mean(values**2 - noises**2)), 0.0)
    theirs = varies + noises**2
    ratio = np.divide(varies + noise**2, theirs, out=np.ones_like(theirs), where=theirs > 0)
    return np.asarray(values * np.sqrt(ratio), dtype=np.float64)


def _inlying(scaled: Floats, weekdays: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Days that are not far above all others, or whose weekday is: at least half of its days.

    The factor makes a median deviation a normal standard deviation.
    """
    median = float(np.median(scaled))
    deviation = 1.4826 * float(np.median(np.abs(scaled - median)))
    far = scaled > median + OUTLYING * deviation
    if not deviation or not far.any():
        return np.ones(len(scaled), np.bool_)
    often = [
        weekday
        for weekday in range(7)
        if far[weekdays == weekday].sum() > (weekdays == weekday).sum() / 2
    ]
    return np.asarray(~far | np.isin(weekdays, often))


def _predict(scaled: Floats, weekdays: npt.NDArray[Any], weekday: int) -> Usual:
    """The prediction for one more `weekday`: its own mean, shrunk towards that of all days."""
    mean, days = float(scaled.mean()), len(scaled)
    means = {int(each): float(scaled[weekdays == each].mean()) for each in np.unique(weekdays)}
    own = np.array([means[int(each)] for each in weekdays])
    share = _rhythm_share(scaled, own, len(means))
    centre = mean + share * (means.get(weekday, mean) - mean)
    degrees = days - 1 - share * (len(means) - 1)
    fitted = mean + share * (own - mean)
    variance = float(((scaled - fitted) ** 2).sum()) / degrees
    alike = max(int((weekdays == weekday).sum()), 1)
    spread = math.sqrt(variance * (1 + (1 - share) / days + share / alike))
    size = max(centre, 0.0) ** (1 / POWER)
    return Usual(days, size, centre, spread, INDEPENDENT * degrees)


def _rhythm_share(scaled: Floats, own: Floats, groups: int) -> float:
    """How far a weekday's mean is its own, in [0, 1]: 1 − RHYTHM × variance within / between."""
    within, between = len(scaled) - groups, groups - 1
    among = float(((own - scaled.mean()) ** 2).sum()) / between if between else 0.0
    if within < 1 or among <= 0:
        return 0.0
    inside = float(((scaled - own) ** 2).sum()) / within
    return max(1 - RHYTHM * inside / among, 0.0)
