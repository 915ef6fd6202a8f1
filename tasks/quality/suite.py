"""The rules every day has to meet, from sound defaults, the recent days and the operator."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.errors import ConfigError
from tasks.quality import frames
from tasks.quality.expectations import CustomExpectation, Severity, columns_of, columns_read

KEYS = ("event_id", "impression_id", "user_id", "item_id")


class RecentDay(NamedTuple):
    """One published day that the new day is held against."""

    day: date
    rows: int
    click_rate: float


@dataclass(frozen=True)
class Settings:
    """The bounds of the default rules."""

    min_row_ratio: float = 0.3
    """Fewest rows, as a share of the recent days' mean."""
    max_row_ratio: float = 3.0
    """Most rows, as a multiple of the recent days' mean."""
    min_click_ratio: float = 0.5
    """Lowest click rate, as a share of the recent days' click rate."""
    max_click_ratio: float = 2.0
    """Highest click rate, as a multiple of the recent days' click rate."""
    min_known_items: float = 0.9
    """Share of rows whose item the catalogue must know."""
    min_recent_days: int = 2
    """Row count and click rate are not judged against fewer recent days."""
    time_zone: str = "UTC"
    """Where a day begins."""
    severities: Mapping[str, Severity] = field(default_factory=dict)
    """Severity by rule name (keys, unique, labels, times, rows, clicks, items); else critical."""


RULES = ("keys", "unique", "labels", "times", "rows", "clicks", "items")


@dataclass(frozen=True)
class Check:
    """One expectation, the frame it runs on, and how its failures are shown."""

    type: str
    arguments: Mapping[str, Any]
    severity: Severity
    frame: frames.Frame
    column: str | None
    """What the report calls its column."""
    shown: tuple[str, ...]
    """Columns whose values are shown for a failed row."""


class Suite(NamedTuple):
    """What is judged, and what cannot be judged yet with the reason."""

    checks: list[Check]
    unjudged: list[tuple[Check, str]]


def default_suite(
    day: date,
    rows: int,
    *,
    known_items: pa.Array | pa.ChunkedArray | None,
    recent: Sequence[RecentDay],
    settings: Settings,
) -> Suite:
    """The default rules for a day of `rows` rows.

    Raises:
        ConfigError: `settings.severities` names a rule or a severity that does not exist.
    """
    severity = _severities(settings.severities)
    checks = [_not_null(column, severity["keys"]) for column in KEYS]
    checks += [
        Check(
            "ExpectColumnValuesToBeUnique",
            {"column": "event_id"},
            severity["unique"],
            frames.coded("event_id"),
            "event_id",
            ("event_id",),
        ),
        _not_null("label", severity["labels"]),
        Check(
            "ExpectColumnValuesToBeInSet",
            {"column": "label", "value_set": [0, 1]},
            severity["labels"],
            frames.plain(("label",)),
            "label",
            ("label",),
        ),
        _not_null("event_time", severity["times"]),
        Check(
            "ExpectColumnPairValuesToBeEqual",
            {"column_A": "event_date", "column_B": frames.LOCAL_DATE},
            severity["times"],
            frames.days_apart(settings.time_zone),
            "event_time",
            ("event_time", "event_date"),
        ),
    ]
    enough = len(recent) >= settings.min_recent_days
    checks.append(_row_count(day, recent if enough else (), settings, severity["rows"]))

    unjudged = []
    clicks = _click_rate(day, rows, recent, settings, severity["clicks"])
    if enough:
        checks.append(clicks)
    else:
        words = f"not judged: {len(recent)} of {settings.min_recent_days} recent days published"
        unjudged.append((clicks, words))
    items = _known_items(known_items, settings, severity["items"])
    if known_items is not None:
        checks.append(items)
    else:
        unjudged.append((items, "not judged: there is no catalogue"))
    return Suite(checks, unjudged)


def custom_checks(expectations: Sequence[CustomExpectation]) -> list[Check]:
    """The operator's rules, on the columns that they name."""
    return [
        Check(
            expectation.type,
            expectation.arguments,
            expectation.severity,
            _frame_of(expectation),
            ", ".join(columns_of(expectation.arguments)) or None,
            columns_of(expectation.arguments),
        )
        for expectation in expectations
    ]


def _frame_of(expectation: CustomExpectation) -> frames.Frame:
    if expectation.type.startswith("ExpectTableRowCount"):
        return frames.plain(columns_read(expectation.arguments) or ("label",))
    columns = columns_read(expectation.arguments)
    if not columns or expectation.type == "ExpectColumnToExist":
        return frames.table_shape()
    return frames.plain(columns)


def _severities(chosen: Mapping[str, Severity]) -> dict[str, Severity]:
    for rule, severity in chosen.items():
        if rule not in RULES:
            raise ConfigError(f"severities has no rule {rule!r}: it may name {', '.join(RULES)}")
        if severity not in ("critical", "warning"):
            raise ConfigError(f"severity of {rule} is {severity!r}: make it critical or warning")
    return {rule: chosen.get(rule, "critical") for rule in RULES}


def _not_null(column: str, severity: Severity) -> Check:
    # event_id shares the frame of the uniqueness rule: its text is read once
    frame = frames.coded(column) if column == "event_id" else frames.plain((column,))
    arguments = {"column": column}
    return Check("ExpectColumnValuesToNotBeNull", arguments, severity, frame, column, (column,))


def _row_count(
    day: date, recent: Sequence[RecentDay], settings: Settings, severity: Severity
) -> Check:
    bounds = {"min_value": 1}
    if recent:
        mean = sum(past.rows for past in recent) / len(recent)
        bounds = {
            "min_value": max(1, math.floor(settings.min_row_ratio * mean)),
            "max_value": math.ceil(settings.max_row_ratio * mean),
        }
    frame = frames.of_the_day("label", day)
    return Check("ExpectTableRowCountToBeBetween", bounds, severity, frame, None, ())


def _click_rate(
    day: date, rows: int, recent: Sequence[RecentDay], settings: Settings, severity: Severity
) -> Check:
    """Bounds widened by three standard errors of the day's own rows: a small day is no alarm."""
    seen = sum(past.rows for past in recent)
    usual = sum(past.rows * past.click_rate for past in recent) / max(seen, 1)

    def noise(rate: float) -> float:
        rate = min(rate, 1.0)
        return 3 * math.sqrt(rate * (1 - rate) / max(rows, 1))

    low, high = settings.min_click_ratio * usual, settings.max_click_ratio * usual
    arguments = {
        "column": "label",
        "min_value": max(low - noise(low), 0.0),
        "max_value": min(high + noise(high), 1.0),
    }
    frame = frames.of_the_day("label", day)
    return Check("ExpectColumnMeanToBeBetween", arguments, severity, frame, "label", ())


def _known_items(
    known_items: pa.Array | pa.ChunkedArray | None, settings: Settings, severity: Severity
) -> Check:
    arguments = {
        "column": frames.ITEM_KNOWN,
        "value_set": [True],
        "mostly": settings.min_known_items,
    }
    ids = pa.array([], pa.string()) if known_items is None else known_items
    frame = frames.against_catalogue(ids)
    return Check("ExpectColumnValuesToBeInSet", arguments, severity, frame, "item_id", ("item_id",))
