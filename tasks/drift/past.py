"""What earlier days were measured to be, read back from their reports: nothing is measured again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from tasks.drift.null import PastEffect

Key = tuple[str, str]
"""Column and measure."""

ROLLING, CHAMPION = "rolling", "champion"
"""References: the days before, and those that the champion learned from."""

FULL_WEEK = 5
"""Fewest days of a reference whose effects say what is usual: it has most weekdays."""

HISTORY_DAYS = 90
"""The newest days that say what is usual."""

SETTLING_DAYS = 14
"""The newest days that do not say what is usual against the champion: they may be a slow drift."""

RECENT_DAYS = 28
USUAL_SHARE = 1 / 3
"""What is flagged on more than a third of the recent days is what is usual by now."""


class Seen(NamedTuple):
    """One effect of an earlier day."""

    value: float
    noise: float
    drifted: bool


@dataclass(frozen=True)
class PastDay:
    """The effects of one earlier day, by reference."""

    day: date
    against: Mapping[str, Mapping[Key, Seen]]


def past_day(day: date, report: Mapping[str, Any]) -> PastDay:
    """The effects in a day's report, those against too short a reference left out."""
    full = {
        name for name, each in report.get("references", {}).items() if each["days"] >= FULL_WEEK
    }
    against: dict[str, dict[Key, Seen]] = {name: {} for name in sorted(full)}
    for column in report["columns"]:
        for name, seen in column.get("against", {}).items():
            if name in full:
                key = column["column"], column["measure"]
                against[name][key] = Seen(seen["value"], seen["noise"], seen["drifted"])
    return PastDay(day, against)


def usual_days(past: Sequence[PastDay], reference: str, key: Key) -> list[PastEffect]:
    """The effects of days that say what is usual for a column, oldest first.

    Args:
        past: in the order of time.
    """
    measured = [each for each in past if reference in each.against][-HISTORY_DAYS:]
    if reference == CHAMPION:
        measured = measured[:-SETTLING_DAYS]
    seen = [(each.day, _seen(each.against[reference], key)) for each in measured]
    known = [(day, each) for day, each in seen if each is not None]
    flagged = sum(each.drifted for _, each in known[-RECENT_DAYS:])
    settled = reference == ROLLING and flagged > USUAL_SHARE * RECENT_DAYS
    return [
        PastEffect(day, each.value, each.noise)
        for day, each in known
        if settled or not each.drifted
    ]


def _seen(effects: Mapping[Key, Seen], key: Key) -> Seen | None:
    """A share of nulls that was not measured did not move: the column was full, or empty."""
    absent = Seen(0.0, 0.0, False) if key[1] == "null share" and effects else None
    return effects.get(key, absent)
