"""Whether a fine-tuning run is worth it today, and why or why not, in words with their figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from tasks.drift.compare import DriftReport


@dataclass(frozen=True)
class Always:
    """Retrain every day."""


@dataclass(frozen=True)
class Cadence:
    """Retrain when the champion's newest training data is so many days old."""

    every_days: int


@dataclass(frozen=True)
class Drift:
    """Retrain when so many columns drifted."""

    min_columns: int = 1


@dataclass(frozen=True)
class Performance:
    """Retrain when the champion ranks a day worse than the days before it."""

    max_drop: float
    """AUC below the mean of the window before."""
    window_days: int = 7


Rule = Always | Cadence | Drift | Performance


@dataclass(frozen=True)
class ChampionFacts:
    """What the rules need to know of the live model."""

    version: str
    trained_through: date


class DayScore(NamedTuple):
    """The champion's prequential record of one day; None where the day ranks nothing."""

    day: date
    champion_auc: float | None
    zero_shot_auc: float | None
    standard_error: float | None = None
    """Of champion_auc."""


@dataclass(frozen=True)
class Trigger:
    """The decision; `reasons` are those of the rules that spoke, or all why none did."""

    retrain: bool
    reasons: list[str]


class _Opinion(NamedTuple):
    retrain: bool
    words: str


def decide_retrain(
    *,
    day: date,
    rules: Sequence[Rule],
    champion: ChampionFacts | None,
    drift: DriftReport | None,
    record: Sequence[DayScore],
) -> Trigger:
    """One rule that speaks is enough; without a champion, retrain.

    Args:
        drift: None if there is no reference to compare with.
        record: prequential scores of `day` and days before it, in any order.
    """
    if champion is None:
        return Trigger(True, ["no champion yet"])
    opinions = [_ask(rule, day, champion, drift, record) for rule in rules]
    spoken = [opinion.words for opinion in opinions if opinion.retrain]
    return Trigger(bool(spoken), spoken or [opinion.words for opinion in opinions])


def _ask(
    rule: Rule,
    day: date,
    champion: ChampionFacts,
    drift: DriftReport | None,
    record: Sequence[DayScore],
) -> _Opinion:
    match rule:
        case Always():
            return _Opinion(True, "every day")
        case Cadence():
            return _age(rule, day, champion)
        case Drift():
            return _drift(rule, drift)
        case Performance():
            return _performance(rule, day, record)


def _age(rule: Cadence, day: date, champion: ChampionFacts) -> _Opinion:
    age = (day - champion.trained_through).days
    old = f"champion {champion.version} has seen nothing for {_days(age)}"
    return _Opinion(age >= rule.every_days, f"{old}, cadence {_days(rule.every_days)}")


def _drift(rule: Drift, drift: DriftReport | None) -> _Opinion:
    if drift is None:
        return _Opinion(False, "no drift: there are no earlier days to compare with")
    moved = [column for column in drift.columns if column.drifted]
    if len(moved) >= rule.min_columns:
        words = [
            f"{column.column} drifted: {column.measure} {column.value:.2g} of {column.threshold:g}"
            f" ({column.words})"
            for column in moved
        ]
        return _Opinion(True, "; ".join(words))
    if not drift.columns:
        return _Opinion(False, "no drift: no column can be compared")
    nearest = max(drift.columns, key=lambda column: column.value / column.threshold)
    said = f"{nearest.measure} {nearest.value:.2g} of {nearest.threshold:g} ({nearest.column})"
    if moved:
        counted = f"{len(moved)} of the {rule.min_columns} columns needed"
        return _Opinion(False, f"drift in {counted}, most {said}")
    return _Opinion(False, f"no drift: most {said}")


def _performance(rule: Performance, day: date, record: Sequence[DayScore]) -> _Opinion:
    first = day - timedelta(days=rule.window_days)
    today = next((s for s in record if s.day == day and s.champion_auc is not None), None)
    window = [s for s in record if first <= s.day < day and s.champion_auc is not None]
    if today is None or today.champion_auc is None:
        return _Opinion(False, "AUC not judged: the day ranks nothing")
    if not window:
        return _Opinion(
            False, f"AUC not judged: no scored day in the {_days(rule.window_days)} before"
        )
    usual = _mean([s.champion_auc for s in window])
    drop = usual - today.champion_auc
    errors = [s.standard_error or 0.0 for s in window]
    noise = 2 * math.hypot(today.standard_error or 0.0, math.hypot(*errors) / len(window))
    said = f"AUC {today.champion_auc:.3f}, mean of {_days(len(window))} before {usual:.3f}"
    said += _beside(today, window)
    if drop > rule.max_drop and drop > noise:
        return _Opinion(True, f"{said}: fell by {drop:.3f}, allowed {rule.max_drop:g}")
    if drop > rule.max_drop:
        return _Opinion(False, f"{said}: fell by {drop:.3f}, within its noise of {noise:.3f}")
    moved = f"fell by {drop:.3f}" if drop > 0 else f"rose by {-drop:.3f}"
    return _Opinion(False, f"{said}: {moved}, a fall of {rule.max_drop:g} is allowed")


def _beside(today: DayScore, window: Sequence[DayScore]) -> str:
    """How the untouched model fared: a day that is hard for both is not the champion's fault."""
    before = [s.zero_shot_auc for s in window]
    if today.zero_shot_auc is None or None in before:
        return ""
    return f" (zero-shot {today.zero_shot_auc:.3f}, before {_mean(before):.3f})"


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def _days(number: int) -> str:
    return f"{number} day" if number == 1 else f"{number} days"
