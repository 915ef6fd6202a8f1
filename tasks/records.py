"""The days that are complete: their records in the journal, their pages under home."""

from datetime import date
from pathlib import Path
from typing import Any

from tasks.workspace import Workspace


def report_path(workspace: Workspace, day: date) -> Path:
    """The page of `day`."""
    return workspace.reports / f"{day}.html"


def closed_records(workspace: Workspace) -> list[dict[str, Any]]:
    """The newest record of each complete day, oldest day first."""
    newest = {entry.day: entry for entry in workspace.journal.entries(event="closed")}
    return [newest[day].evidence["record"] for day in sorted(d for d in newest if d)]
