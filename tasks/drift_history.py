"""What drift found on earlier days, as the journal remembers it."""

from datetime import date
from typing import TYPE_CHECKING

from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.drift.past import PastDay
    from tasks.registry.journal import Entry


def past_days(workspace: Workspace, day: date) -> "list[PastDay]":
    """The newest verdict on each of the days before `day` that say what is usual, oldest first.

    A replay begins with what the real history had found before its first day.
    """
    from tasks.drift.past import HISTORY_DAYS, past_day

    newest = {each: entry for each, entry in _profiled(workspace).items() if each < day}
    reports = ((each, newest[each].evidence["report"]) for each in sorted(newest)[-HISTORY_DAYS:])
    return [past_day(each, report) for each, report in reports if report is not None]


def _profiled(workspace: Workspace) -> "dict[date, Entry]":
    entries = workspace.journal.entries(event="profiled")
    inherited = [] if workspace.replay is None else _before_replay(workspace)
    return {entry.day: entry for entry in [*inherited, *entries] if entry.day is not None}


def _before_replay(workspace: Workspace) -> "list[Entry]":
    from tasks.interactions.replay import ReplayLake
    from tasks.registry.journal import Journal

    begun, lake = workspace.journal.find("begun"), workspace.lake
    assert workspace.replay and begun and isinstance(lake, ReplayLake), "begin_replay came first"
    first = date.fromisoformat(begun.evidence["first"])
    entries = Journal(lake.stored, workspace.replay.pipeline).entries(event="profiled")
    return [entry for entry in entries if entry.day is not None and entry.day < first]
