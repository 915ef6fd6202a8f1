"""What each rule says of a day, and why, in words with their figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean
from typing import NamedTuple

from tasks.trigger.performance import FEWEST_DAYS, DayScore, measure_fall
from tasks.trigger.rules import Always, Amount, Cadence, Drift, Performance, Probe, Rule, name_of


class Flag(NamedTuple):
    """A column that drifted, and what moved in it."""

    column: str
    words: str


class DriftDay(NamedTuple):
    """What drift found on a day."""

    day: date
    flags: tuple[Flag, ...]
    compared: int
    """Columns that could be compared; 0 where there was nothing to compare with."""

    @property
    def moved(self) -> list[str]:
        """The columns that drifted; one of several flags is one column."""
        return list(dict.fromkeys(flag.column for flag in self.flags))


@dataclass(frozen=True)
class ChampionFacts:
    """What the rules need to know of the live model."""

    version: str
    trained_through: date
    rows_since: int = 0
    """Published rows later than its newest training data; counted where a rule asks."""


@dataclass(frozen=True)
class Facts:
    """What the rules are asked about."""

    day: date
    champion: ChampionFacts | None
    """None: the zero-shot model is live."""
    drift: Sequence[DriftDay]
    """Of `day` and days before it, in any order."""
    record: Sequence[DayScore]
    """Prequential scores of `day` and days before it, in any order."""
    trained: date | None = None
    """The last day before `day` on which a challenger was trained."""


@dataclass(frozen=True)
class Opinion:
    """What a rule says."""

    rule: str
    """Its name in the ledger."""
    spoke: bool | None
    """Whether it asks for a run; None where it was not asked, for the others had decided."""
    words: str
    seconds: float = 0.0
    """What asking cost."""


def ask(rule: Rule, facts: Facts, champion: ChampionFacts) -> Opinion:
    """What a rule says that needs no more than the facts: any but `Probe`."""
    match rule:
        case Always():
            spoke, words = True, "every day"
        case Cadence():
            spoke, words = _age(rule, facts, champion)
        case Amount():
            spoke, words = _amount(rule, champion)
        case Drift():
            spoke, words = _drift(rule, facts)
        case Performance():
            spoke, words = _performance(rule, facts)
        case Probe():
            raise AssertionError(
                "a probe trains: who decides asks it last, and only where it counts"
            )
    return Opinion(name_of(rule), spoke, words)


def days(number: int) -> str:
    """1 day, 2 days."""
    return f"{number} day" if number == 1 else f"{number} days"


def _age(rule: Cadence, facts: Facts, champion: ChampionFacts) -> tuple[bool, str]:
    age = (facts.day - champion.trained_through).days
    old = f"champion {champion.version} has seen nothing for {days(age)}"
    return age >= rule.every_days, f"{old}, cadence {days(rule.every_days)}"


def _amount(rule: Amount, champion: ChampionFacts) -> tuple[bool, str]:
    said = f"{champion.rows_since:,} rows since champion {champion.version} was trained"
    return champion.rows_since >= rule.min_rows, f"{said}, amount {rule.min_rows:,}"


def _drift(rule: Drift, facts: Facts) -> tuple[bool, str]:
    first = facts.day - timedelta(days=rule.window_days - 1)
    window = {found.day: found for found in facts.drift if first <= found.day <= facts.day}
    today = window.get(facts.day)
    if today is None or not today.compared:
        return False, "no drift: there are no earlier days to compare with"
    if len(today.moved) < rule.min_columns:
        return False, _calm(rule, today)
    moved = "; ".join(f"{flag.column} drifted ({flag.words})" for flag in today.flags)
    drifted = sum(len(found.moved) >= rule.min_columns for found in window.values())
    counted = f"drift on {drifted} of the last {days(rule.window_days)}"
    if drifted < rule.days:
        return False, f"{counted}, {rule.days} needed: {moved}"
    return True, f"{counted}: {moved}" if rule.window_days > 1 else moved


def _calm(rule: Drift, today: DriftDay) -> str:
    if not today.flags:
        return f"no drift in any of {today.compared} columns"
    names = ", ".join(today.moved)
    return f"drift in {len(today.moved)} of the {rule.min_columns} columns needed ({names})"


def _performance(rule: Performance, facts: Facts) -> tuple[bool, str]:
    first = facts.day - timedelta(days=rule.window_days)
    scored = [score for score in facts.record if score.champion_auc is not None]
    today = next((score for score in scored if score.day == facts.day), None)
    window = [score for score in scored if first <= score.day < facts.day]
    if today is None or today.champion_auc is None:
        return False, "AUC not judged: the day ranks nothing"
    if len(window) < FEWEST_DAYS:
        found = f"{days(len(window))} scored in the {days(rule.window_days)} before"
        return False, f"AUC not judged: {found}, {FEWEST_DAYS} needed"
    history = [(s.champion_auc, s.standard_error) for s in window if s.champion_auc is not None]
    fall = measure_fall(
        today.champion_auc, today.standard_error, history, confidence=rule.confidence
    )
    said = f"AUC {today.champion_auc:.3f}, mean of {days(len(window))} before {fall.usual:.3f}"
    said += _beside(today, window)
    if fall.drop <= rule.max_drop:
        moved = f"fell by {fall.drop:.3f}" if fall.drop > 0 else f"rose by {-fall.drop:.3f}"
        return False, f"{said}: {moved}, a fall of {rule.max_drop:g} is allowed"
    if fall.low <= 0:
        chance = fall.drop - fall.low
        return False, f"{said}: fell by {fall.drop:.3f}, and chance alone makes up to {chance:.3f}"
    return (
        True,
        f"{said}: fell by {fall.drop:.3f} (at least {fall.low:.3f}), allowed {rule.max_drop:g}",
    )


def _beside(today: DayScore, window: Sequence[DayScore]) -> str:
    """How the untouched model fared: a day that is hard for both is not the champion's fault."""
    before = [score.zero_shot_auc for score in window if score.zero_shot_auc is not None]
    if today.zero_shot_auc is None or len(before) < len(window):
        return ""
    return f" (zero-shot {today.zero_shot_auc:.3f}, before {fmean(before):.3f})"
