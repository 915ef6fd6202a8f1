"""A lake whose profiles an older version wrote: they are left out of references, and that is said."""

import logging
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from portal import write_config

from tasks import detect_drift
from tasks.drift.profile import profile_day
from tasks.drift.table import PROFILES, VERSION, to_table
from tasks.workspace import open_workspace

DAY = date(2026, 3, 1)
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(write_config(tmp_path, tmp_path / "logs"), "portal")


def store(workspace, day: date, version: int) -> None:
    place = PROFILES.get_field_index("version")
    shown = pa.table(
        {
            "event_time": [datetime(day.year, day.month, day.day, 12, tzinfo=UTC)],
            "impression_id": ["a"],
            "user_id": ["u"],
            "item_id": ["n"],
            "label": pa.array([1], pa.int8()),
        }
    )
    catalogue = pa.table({"item_id": ["n"], "category": ["sports"]})
    row = to_table(profile_day(shown, day, catalogue=catalogue), 1)
    row = row.set_column(place, PROFILES.field("version"), pa.array([version], pa.int32()))
    workspace.lake.replace_day("profiles", day, row, app_id=f"profiles/{day}", app_version=0)


def test_a_day_profiled_by_an_older_version_is_no_reference_and_is_named(workspace, caplog):
    store(workspace, DAY, VERSION - 1)
    store(workspace, NEXT, VERSION)
    with caplog.at_level(logging.INFO):
        found = detect_drift._stored_profiles(workspace, DAY, NEXT)
    assert [profile.days for profile in found] == [(NEXT,)]
    assert f"left out of references: {DAY}, profiled by an older Dayspring" in caplog.text


def test_a_lake_of_old_profiles_has_nothing_to_compare_with(workspace):
    store(workspace, DAY, VERSION - 1)
    assert detect_drift._stored_profiles(workspace, DAY, NEXT) == []
