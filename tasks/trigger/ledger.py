"""What each trigger cost, and what its trainings gained on the days that followed.

A firing is a training that a rule asked for. What it gained is the prequential AUC of the model that it
made less that of the model which this one replaced, on the same impressions of the days after; nothing,
if the model was not promoted. Where several rules asked for one training, each has all of its cost and gain.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal, NamedTuple

Fate = Literal["promoted", "not promoted", "open"]
"""open: it waits for a person, or for more evidence."""


class DayGain(NamedTuple):
    """A day after a promotion."""

    gain: float
    """AUC of the new champion less that of the replaced one."""
    standard_error: float


@dataclass(frozen=True)
class Firing:
    """A training, and who asked for it."""

    rules: tuple[str, ...]
    train_seconds: float
    fate: Fate
    days: tuple[DayGain, ...]
    """The days after its promotion on which the replaced model was scored too."""

    @property
    def gain(self) -> DayGain | None:
        """Its mean gain over the days; None while that is not known.

        Days are taken as independent, so the error is a little short where users come back.
        """
        if self.fate == "not promoted":
            return DayGain(0.0, 0.0)
        if self.fate == "open" or not self.days:
            return None
        return _mean(self.days)


class Asked(NamedTuple):
    """A day on which a rule was asked."""

    rule: str
    spoke: bool
    seconds: float
    """What asking took."""


@dataclass(frozen=True)
class Line:
    """A trigger's account."""

    trigger: str
    asked: int
    """Days on which it was asked."""
    spoke: int
    """Days of these on which it asked for a training."""
    fired: int
    """Trainings that it asked for."""
    promoted: int
    open: int
    """Trainings whose model waits for a person, or for more evidence."""
    precision: float | None
    """Promoted trainings over those that are not open."""
    measured: int
    """Trainings whose gain is known."""
    mean_gain: float | None
    """Of AUC on the following days, over the measured trainings; 0 for what was not promoted."""
    gain_error: float | None
    """Standard error of `mean_gain` from the users of these days."""
    train_seconds: float
    asking_seconds: float

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def balance(firings: Sequence[Firing], asked: Iterable[Asked]) -> list[Line]:
    """A line for each trigger, in the order in which they first came up."""
    days: dict[str, list[Asked]] = {}
    for each in asked:
        days.setdefault(each.rule, []).append(each)
    for name in (name for firing in firings for name in firing.rules):
        days.setdefault(name, [])
    return [
        _line(name, found, [firing for firing in firings if name in firing.rules])
        for name, found in days.items()
    ]


def _line(name: str, asked: Sequence[Asked], firings: Sequence[Firing]) -> Line:
    fates = [firing.fate for firing in firings]
    promoted, settled = fates.count("promoted"), len(fates) - fates.count("open")
    gains = [gain for firing in firings if (gain := firing.gain) is not None]
    mean = _mean(gains) if gains else None
    return Line(
        trigger=name,
        asked=len(asked),
        spoke=sum(each.spoke for each in asked),
        fired=len(firings),
        promoted=promoted,
        open=fates.count("open"),
        precision=promoted / settled if settled else None,
        measured=len(gains),
        mean_gain=mean.gain if mean else None,
        gain_error=mean.standard_error if mean else None,
        train_seconds=round(sum(firing.train_seconds for firing in firings), 3),
        asking_seconds=round(sum(each.seconds for each in asked), 3),
    )


def _mean(gains: Sequence[DayGain]) -> DayGain:
    errors = math.hypot(*(each.standard_error for each in gains))
    return DayGain(fmean(each.gain for each in gains), errors / len(gains))
