"""Old states of a table go; those within reach, and those that are named, can still be read."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from aged_tables import age
from deltalake import DeltaTable

from tasks.errors import LakeError
from tasks.interactions.lake import Lake
from tasks.interactions.schema import ITEM_HOURS
from tasks.interactions.vacuum import vacuum

DAY = date(2026, 3, 2)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Versions 1 to 6 of item_hours: each replaces the one row of the one before."""
    lake = Lake(str(tmp_path))
    for number in range(1, 7):
        replace(lake, number)
    return lake


def replace(lake: Lake, number: int) -> None:
    hour = datetime(2026, 3, 2, 12, tzinfo=UTC)
    row = {"event_date": DAY, "hour": hour, "item_id": "n1", "impressions": number, "clicks": 0}
    rows = pa.Table.from_pylist([row], schema=ITEM_HOURS)
    lake.replace_day("item_hours", DAY, rows, app_id="hours", app_version=number)


def readable(lake: Lake) -> dict[int, int]:
    """The versions that can be read, and what they hold."""
    found = {}
    for version in range(1, 7):
        try:
            found[version] = lake.read("item_hours", version=version)["impressions"][0].as_py()
        except (LakeError, OSError):
            continue
    return found


def test_old_states_go_and_named_ones_stay(lake: Lake, tmp_path: Path) -> None:
    age(tmp_path / "item_hours", 40)
    assert vacuum(lake, "item_hours", days=30, keep={2, 4}) == 3
    assert readable(lake) == {2: 2, 4: 4, 6: 6}
    assert vacuum(lake, "item_hours", days=30, keep={2, 4}) == 0
    assert vacuum(lake, "item_hours", days=30, keep={4}) == 1
    assert readable(lake) == {4: 4, 6: 6}


def test_states_within_the_days_stay(lake: Lake, tmp_path: Path) -> None:
    age(tmp_path / "item_hours", 40)
    replace(lake, 7)
    # Version 6 was current until now.
    assert vacuum(lake, "item_hours", days=30) == 5
    assert readable(lake) == {6: 6}


def test_a_checkpoint_that_forgets_deletions_takes_no_state_away_early(
    lake: Lake, tmp_path: Path
) -> None:
    table = tmp_path / "item_hours"
    vacuum(lake, "item_hours", days=30)
    # Ten days after the deletions, past the week that Delta remembers them by default, of files that
    # were written long before them.
    age(table, 10)
    for file in table.rglob("*.parquet"):
        os.utime(file, (0, 0))
    DeltaTable(str(table)).create_checkpoint()
    assert vacuum(lake, "item_hours", days=30) == 0
    assert len(readable(lake)) == 6


def test_a_dry_run_counts_and_changes_nothing(lake: Lake, tmp_path: Path) -> None:
    age(tmp_path / "item_hours", 40)
    before = lake.version("item_hours")
    assert vacuum(lake, "item_hours", days=30, dry_run=True) == 5
    assert lake.version("item_hours") == before
    assert len(readable(lake)) == 6


def test_a_file_that_a_killed_writer_left_goes_once_it_is_old(lake: Lake, tmp_path: Path) -> None:
    orphan = tmp_path / "item_hours" / "orphan.parquet"
    orphan.write_bytes(b"half")
    assert vacuum(lake, "item_hours", days=30) == 0
    age(tmp_path / "item_hours", 40)
    vacuum(lake, "item_hours", days=30)
    assert not orphan.exists()


def test_versions_that_never_were_are_passed_over(lake: Lake, tmp_path: Path) -> None:
    age(tmp_path / "item_hours", 40)
    assert vacuum(lake, "item_hours", days=30, keep={-1, 2, 999}) == 4
    assert readable(lake) == {2: 2, 6: 6}


def test_a_table_that_is_not_there_has_nothing_to_clear(tmp_path: Path) -> None:
    assert vacuum(Lake(str(tmp_path)), "profiles", days=30) == 0
