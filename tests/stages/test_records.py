"""What a stage reads of the days before its own: so many as it looks at, however many there are."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from portal import write_config

from tasks.close_day import _neighbouring_records
from tasks.records import closed_records, newest_closed
from tasks.registry import journal as journals
from tasks.registry.journal import JOURNAL
from tasks.workspace import Workspace, open_workspace

FIRST = date(2025, 1, 1)
DAYS = 400


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A pipeline that has closed 400 days."""
    workspace = open_workspace(write_config(tmp_path, tmp_path), "portal")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    rows = [
        {
            "key": f"{day}/r1/a0/closed", "recorded_at": start + timedelta(seconds=n),
            "pipeline": "portal", "day": day, "event": "closed", "actor": "dayspring",
            "reason": "r", "model_version": None,
            "evidence": json.dumps({"record": {"day": str(day)}}),
        }
        for n, day in enumerate(days)
    ]  # fmt: skip
    write_deltalake(f"{workspace.lake.root}/journal", pa.Table.from_pylist(rows, JOURNAL))
    return workspace


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every evidence that is parsed."""
    found: list[Any] = []
    load = json.loads

    def counted(text: str) -> Any:
        found.append(load(text))
        return found[-1]

    monkeypatch.setattr(journals.json, "loads", counted)
    yield found


def test_naming_the_complete_days_parses_none(workspace: Workspace, parsed: list[Any]) -> None:
    assert len(newest_closed(workspace)) == DAYS
    assert not parsed


def test_only_the_records_asked_for_are_parsed(workspace: Workspace, parsed: list[Any]) -> None:
    asked = [FIRST + timedelta(days=n) for n in (300, 7, 5_000)]
    assert [r["day"] for r in closed_records(workspace, asked)] == ["2025-01-08", "2025-10-28"]
    assert len(parsed) == 2


def test_closing_a_day_parses_two_months_of_records_at_most(
    workspace: Workspace, parsed: list[Any]
) -> None:
    today = FIRST + timedelta(days=DAYS)
    records = _neighbouring_records(workspace, {"day": str(today)})
    assert list(records)[-1] == today
    assert len(parsed) == 60


def test_an_old_day_run_again_stays_beside_the_latest_in_the_lists(workspace: Workspace) -> None:
    again = FIRST + timedelta(days=100)
    records = _neighbouring_records(workspace, {"day": str(again), "again": True})
    assert records[again] == {"day": str(again), "again": True}
    assert list(records)[-60:] == [FIRST + timedelta(days=n) for n in range(DAYS - 60, DAYS)]
