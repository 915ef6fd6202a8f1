"""What stages read of other days, on a real lake and journal and without a flow."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import pyarrow as pa
from portal import FIRST_DAY, write_config

from tasks.context import _told_apart_by_day
from tasks.interactions.schema import INTERACTIONS, ITEM_HOURS
from tasks.registry.journal import Outcome
from tasks.validate import recent_days
from tasks.workspace import open_workspace

INTERACTIONS_OPEN = pa.schema([field.with_nullable(True) for field in INTERACTIONS])


def hour_of(day: date, impressions: int, clicks: int) -> pa.Table:
    hour = datetime.combine(day, time(12), UTC)
    counts = {"item_id": "n1", "impressions": impressions, "clicks": clicks}
    return pa.Table.from_pylist([{"event_date": day, "hour": hour, **counts}], schema=ITEM_HOURS)


def test_a_day_that_only_late_rows_have_reached_is_not_a_recent_day(tmp_path):
    workspace = open_workspace(write_config(tmp_path, Path("logs")), "portal")
    late, whole, today = (FIRST_DAY.replace(day=day) for day in (2, 3, 4))
    for day, impressions, clicks in ((late, 1, 0), (whole, 1600, 160)):
        rows = hour_of(day, impressions, clicks)
        workspace.lake.replace_day("item_hours", day, rows, app_id=f"hours/{day}", app_version=1)
    workspace.journal.once("k", "published", lambda: Outcome("published", day=whole))
    assert recent_days(workspace, today) == [(whole, 1600, 0.1)]


def test_a_day_validated_again_does_not_count_the_late_rows_that_it_brought(tmp_path):
    workspace = open_workspace(write_config(tmp_path, Path("logs")), "portal")
    before, today = FIRST_DAY, FIRST_DAY.replace(day=FIRST_DAY.day + 1)
    lake, app = workspace.lake, f"hours/{before}"
    first = lake.replace_day(
        "item_hours", before, hour_of(before, 1600, 160), app_id=app, app_version=1
    )
    evidence = {"item_hours": first}
    workspace.journal.once(
        "k", "published", lambda: Outcome("published", day=before, evidence=evidence)
    )
    assert recent_days(workspace, today) == [(before, 1600, 0.1)]
    # Today is published, its late rows are counted in the day before; then the run is killed.
    row = dict.fromkeys(INTERACTIONS.names) | {"event_date": before, "source_day": today}
    lake.append_once(
        "interactions", pa.Table.from_pylist([row], INTERACTIONS_OPEN), app_id=f"day/{today}"
    )
    lake.replace_day("item_hours", before, hour_of(before, 1640, 160), app_id=app, app_version=2)
    assert recent_days(workspace, today) == [(before, 1600, 0.1)]


def test_impressions_numbered_from_zero_every_day_stay_apart():
    rows = pa.table(
        {
            "event_date": pa.array([date(2026, 3, 2), date(2026, 3, 3)]),
            "impression_id": ["0", "0"],
        }
    )
    assert _told_apart_by_day(rows)["impression_id"].to_pylist() == ["2026-03-02/0", "2026-03-03/0"]
