"""The days that are complete: their records in the journal, their pages under home."""

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry


def report_path(workspace: Workspace, day: date) -> Path:
    """The page of `day`."""
    return workspace.reports / f"{day}.html"


def month_of(day: date) -> str:
    """The month whose list has `day`: 2026-03."""
    return f"{day:%Y-%m}"


def newest_closed(workspace: Workspace) -> "dict[date, Entry]":
    """The newest `closed` entry of each complete day, oldest day first; none is parsed."""
    newest = {entry.day: entry for entry in workspace.journal.entries(event="closed")}
    return {day: newest[day] for day in sorted(day for day in newest if day)}


def gaps(days: Sequence[date]) -> list[tuple[date, date]]:
    """First and last missing day of each gap between `days`, which are in order."""
    one = timedelta(days=1)
    return [(before + one, after - one) for before, after in pairwise(days) if after - before > one]


def closed_records(workspace: Workspace, days: Collection[date]) -> list[dict[str, Any]]:
    """The newest record of those of `days` that are complete, oldest first.

    A record is 13 KB of JSON: a stage that asked for all of them would take longer every day.
    """
    closed = newest_closed(workspace)
    return [closed[day].evidence["record"] for day in sorted(closed.keys() & set(days))]
