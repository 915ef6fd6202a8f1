"""Has something changed: a day's effects against what is usual for this pipeline.

A column has drifted if its effect is both larger than what matters and unlikely on a usual day, with
the false discovery rate held over all columns. So verdicts are the same at a thousand rows and at
ten million: with more rows an effect is known better, but neither what matters nor what is usual
becomes smaller. While what is usual is still being learned, only large shifts count.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import numpy as np

from tasks.drift.discoveries import discovered
from tasks.drift.effects import Effect
from tasks.drift.measures import chance
from tasks.drift.null import MIN_DAYS, Usual, usual_effect
from tasks.drift.past import CHAMPION, FULL_WEEK, ROLLING, Key, PastDay, usual_days
from tasks.drift.thresholds import threshold_of

LEARNING_FACTOR = 3.0
"""While what is usual is not known, a shift counts from so many times its threshold."""

SPENT = 0.5
"""Of the allowed false alarms: usual days vary more than a normal distribution has it, so that as many again
come of themselves. Set on simulated days of other seeds than benchmarks/decisions_drift.py has."""

NEEDS_PAST = ("new_items", "new_users", "new_categories")
"""Not judged while learning: where memory is still filling, everything is new."""

BAND = 0.01
"""A usual day is above the upper end of the usual band with this probability."""


@dataclass(frozen=True)
class Measured:
    """A day's effects against one reference."""

    period: str
    days: int
    """How many days the reference has."""
    effects: Sequence[Effect]


@dataclass(frozen=True)
class ColumnDrift:
    """One column's shift against the reference from which it moved most; JSON-able."""

    column: str
    measure: str
    value: float
    """Size of the shift beyond what is usual; while that is being learned, beyond sampling."""
    threshold: float
    """Smallest shift that matters; while learning, LEARNING_FACTOR times that."""
    drifted: bool
    """value > threshold, and unlikely on a usual day."""
    words: str
    """The segments that moved most: share now, share before."""
    reference: str = ""
    """rolling: the days before, so a sudden drift; champion: its training days, a gradual one."""
    p: float | None = None
    """Probability of so large an effect on a day on which nothing happens."""
    usual: Mapping[str, float] | None = None
    """`size` of the effect on a usual day, `high`: what one in a hundred exceeds; None: learning."""
    against: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By reference: value (the effect), noise, p, drifted, and usual's size and high."""


@dataclass(frozen=True)
class DriftReport:
    """What moved against the reference days."""

    reference: str
    columns: list[ColumnDrift]
    references: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By reference: its period and its number of days."""
    learning: str = ""
    """How far learning what is usual has come; empty once it is known."""

    @property
    def drifted(self) -> bool:
        """Whether any column did."""
        return any(column.drifted for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """The day's record under "drift"."""
        return {
            "drifted": self.drifted,
            "reference": self.reference,
            "references": self.references,
            "learning": self.learning,
            "columns": [asdict(column) for column in self.columns],
        }


@dataclass(frozen=True)
class _Comparison:
    """One effect beside what is usual for it."""

    reference: str
    effect: Effect
    usual: Usual | None
    threshold: float

    @property
    def shift(self) -> float:
        return self.usual.beyond(self.effect.value) if self.usual else self.effect.shift

    @property
    def p(self) -> float:
        """Of a usual day; while that is being learned, of sampling alone."""
        return self.usual.chance(self.effect.value) if self.usual else self.effect.chance

    @property
    def reach(self) -> float:
        """Probability that a usual day's shift exceeds the threshold."""
        if self.usual:
            return self.usual.chance(math.hypot(self.usual.size, self.threshold))
        effect = self.effect
        return chance(math.hypot(effect.noise, self.threshold), effect.noise, effect.degrees)

    @property
    def excess(self) -> float:
        return self.shift / self.threshold

    @property
    def matters(self) -> bool:
        return self.excess > 1 and (self.usual is not None or self.effect.column not in NEEDS_PAST)

    def to_json(self, drifted: bool) -> dict[str, Any]:
        usual = _usual_json(self.usual)
        seen = {"value": self.effect.value, "noise": self.effect.noise, "p": self.p}
        return {name: _short(each) for name, each in {**seen, **(usual or {})}.items()} | {
            "drifted": drifted
        }


def judge(
    day: date,
    measured: Mapping[str, Measured],
    past: Sequence[PastDay],
    *,
    thresholds: Mapping[str, float],
    false_alarm_days: float,
) -> DriftReport:
    """Hold `day` against its references, each column against its own past.

    Args:
        measured: the day's effects by reference, ROLLING and where there is one CHAMPION.
        past: the days before, in the order of time.
        thresholds: smallest shift that matters, by column; those not named keep their default.
        false_alarm_days: in so many days on which nothing happens one has any alarm, at most.
    """
    compared = [
        _compare(day, name, effect, held, past, thresholds)
        for name, held in measured.items()
        for effect in held.effects
    ]
    chances = np.array([each.p if each.matters else 1.0 for each in compared])
    reach = np.array([each.reach for each in compared])
    flags = discovered(chances, reach, SPENT / false_alarm_days)
    return DriftReport(
        reference=_told_reference(measured),
        columns=_by_column(compared, flags.tolist()),
        references={
            name: {"period": held.period, "days": held.days} for name, held in measured.items()
        },
        learning=_learning(past),
    )


def _compare(
    day: date,
    reference: str,
    effect: Effect,
    held: Measured,
    past: Sequence[PastDay],
    thresholds: Mapping[str, float],
) -> _Comparison:
    key = effect.column, effect.measure
    known = usual_days(past, reference, key) if held.days >= FULL_WEEK else []
    usual = usual_effect(known, day, effect.noise)
    threshold = threshold_of(*key, thresholds)
    return _Comparison(
        reference, effect, usual, threshold if usual else LEARNING_FACTOR * threshold
    )


def _by_column(compared: Sequence[_Comparison], flags: Sequence[bool]) -> list[ColumnDrift]:
    columns: dict[Key, list[tuple[_Comparison, bool]]] = {}
    for each, drifted in zip(compared, flags, strict=True):
        columns.setdefault((each.effect.column, each.effect.measure), []).append((each, drifted))
    return [_column(parts) for parts in columns.values()]


def _column(parts: Sequence[tuple[_Comparison, bool]]) -> ColumnDrift:
    """The comparison that says most: a drifted one, the least likely first, else the largest."""
    told, drifted = min(
        parts, key=lambda part: (not part[1], part[0].p if part[1] else 0, -part[0].excess)
    )
    return ColumnDrift(
        column=told.effect.column,
        measure=told.effect.measure,
        value=_short(told.shift),
        threshold=told.threshold,
        drifted=drifted,
        words=told.effect.words,
        reference=told.reference,
        p=_short(told.p),
        usual=_usual_json(told.usual),
        against={each.reference: each.to_json(flag) for each, flag in parts},
    )


def _usual_json(usual: Usual | None) -> dict[str, float] | None:
    if usual is None:
        return None
    return {"size": _short(usual.size), "high": _short(usual.high(BAND))}


def _told_reference(measured: Mapping[str, Measured]) -> str:
    """The champion's days where they are other ones than those just before."""
    return measured[CHAMPION if CHAMPION in measured else ROLLING].period


def _learning(past: Sequence[PastDay]) -> str:
    known = sum(ROLLING in each.against for each in past)
    if known >= MIN_DAYS:
        return ""
    return f"learning what is usual: day {known + 1} of {MIN_DAYS}"


def _short(value: float) -> float:
    """Five digits: a journal keeps them for years."""
    return float(f"{value:.5g}")
