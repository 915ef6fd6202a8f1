import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from ingest_bench import Bench, event

from tasks.errors import LakeError
from tasks.interactions.commit import send_files
from tasks.interactions.lake import Lake, retrying, rows_of
from tasks.interactions.schema import INTERACTIONS, ITEM_HOURS, QUARANTINE

FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)


def hours(day: date, *clicks: int) -> pa.Table:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        {"event_date": day, "hour": at, "item_id": f"n{n}", "impressions": 9, "clicks": count}
        for n, count in enumerate(clicks)
    ]
    return pa.Table.from_pylist(rows, ITEM_HOURS)


def test_a_table_that_does_not_exist_is_empty_and_has_its_columns(bench: Bench) -> None:
    assert bench.lake.version("interactions") is None
    assert bench.lake.read("interactions").schema.equals(INTERACTIONS)
    picked = bench.lake.read("interactions", columns=["label", "user_id"], days=(FIRST, SECOND))
    assert picked.schema.names == ["label", "user_id"]
    assert bench.lake.files("interactions") == []
    with pytest.raises(LakeError, match="does not exist"):
        bench.lake.table_version("interactions")


def test_reading_picks_columns_days_and_versions(bench: Bench) -> None:
    for day in (1, 2, 3):
        at = f"2026-11-0{day}T10:00:00Z"
        bench.write_rows([event(day, event_time=at)], f"2026-11-0{day}.jsonl")
        bench.run(day=date(2026, 11, day))
    lake = bench.lake
    assert lake.read("interactions", columns=["event_id"], days=(FIRST, SECOND)).num_rows == 2
    assert lake.read("interactions", days=(SECOND, SECOND))["event_id"].to_pylist() == ["e2"]
    assert lake.read("interactions", version=1)["event_id"].to_pylist() == ["e1"]
    assert len(lake.files("interactions")) == 3
    assert [
        "source_day=2026-11-02" in path for path in lake.files("interactions", (SECOND, SECOND))
    ] == [True]
    with pytest.raises(LakeError, match="version 99"):
        lake.read("interactions", version=99)


def test_a_day_is_replaced_whole_and_a_repeat_changes_nothing(bench: Bench) -> None:
    lake = bench.lake
    lake.replace_day("item_hours", FIRST, hours(FIRST, 1, 2), app_id="hours/1", app_version=1)
    version = lake.replace_day("item_hours", SECOND, hours(SECOND, 3), app_id="h/2", app_version=1)
    for older in (0, 1):
        same = lake.replace_day(
            "item_hours", SECOND, hours(SECOND, 9, 9), app_id="h/2", app_version=older
        )
        assert same == version
    assert sorted(lake.read("item_hours")["clicks"].to_pylist()) == [1, 2, 3]
    lake.replace_day("item_hours", SECOND, hours(SECOND, 4, 5), app_id="h/2", app_version=2)
    assert sorted(lake.read("item_hours", days=(SECOND, SECOND))["clicks"].to_pylist()) == [4, 5]
    lake.replace_day("item_hours", SECOND, hours(SECOND), app_id="h/2", app_version=3)
    assert sorted(lake.read("item_hours")["clicks"].to_pylist()) == [1, 2]
    assert lake.read("item_hours").schema.equals(ITEM_HOURS)


def test_rows_are_appended_once_for_an_application_id(bench: Bench) -> None:
    row = {"raw": "x", "source": "s", "line": 1, "reason": "r", "day": FIRST, "run": "a"}
    rows = pa.Table.from_pylist([row], QUARANTINE)
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(
                lambda n: bench.lake.append_once("quarantine", rows, app_id=f"a{n % 2}"), range(6)
            )
        )
    assert sorted(done) == [False] * 4 + [True] * 2
    assert bench.lake.read("quarantine").num_rows == 2


def test_a_table_without_a_day_says_so(bench: Bench) -> None:
    bench.lake.append_once("notes", pa.table({"a": [1]}), app_id="x")
    assert bench.lake.read("notes").to_pylist() == [{"a": 1}]
    with pytest.raises(LakeError, match="neither event_date nor day"):
        bench.lake.read("notes", days=(FIRST, SECOND))


def test_a_writer_that_is_always_overtaken_says_so() -> None:
    from deltalake.exceptions import CommitFailedError

    def overtaken() -> None:
        raise CommitFailedError("conflict")

    with pytest.raises(LakeError, match="committed first 8 times"):
        retrying(overtaken)


def test_a_folder_with_odd_characters_holds_a_lake(tmp_path: Path) -> None:
    odd = tmp_path / "a b é+#'x"
    odd.mkdir()
    bench = Bench(odd)
    bench.write_rows([event(1)])
    bench.run()
    (path,) = bench.lake.files("interactions")
    assert Path(path).is_file()
    assert bench.published("event_id") == [("e1",)]


def test_files_are_sent_to_a_store_by_its_url(bench: Bench, tmp_path: Path) -> None:
    bench.write_rows([event(1)])
    staged = bench.stage()
    store = tmp_path / "store"
    store.mkdir()
    send_files(store.as_uri(), staged.folder / "interactions", staged.interactions)
    (file,) = staged.interactions
    assert (store / file.path).read_bytes() == staged.paths()[0].read_bytes()


def test_a_day_is_read_without_naming_the_files_of_other_days(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for number in range(30):
        day = FIRST + timedelta(days=number)
        lake.replace_day("item_hours", day, hours(day, number), app_id=f"{day}", app_version=1)

    table = lake.open("item_hours")
    assert table is not None
    assert len(rows_of(table).files) == 30
    assert len(rows_of(table, f"event_date = '{SECOND}'").files) == 1
    assert lake.read("item_hours", days=(SECOND, SECOND))["clicks"].to_pylist() == [1]


def test_opening_a_table_replays_few_commits_however_many_there_are(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for number in range(25):
        rows = pa.table({"day": pa.array([FIRST]), "number": [number]})
        lake.append_once("notes", rows, app_id=f"note/{number}")

    log = tmp_path / "notes" / "_delta_log"
    checkpoint = json.loads((log / "_last_checkpoint").read_text())["version"]
    assert lake.table_version("notes") - checkpoint < 10


def parts(lake: Lake) -> list[tuple[date, str, int]]:
    found = lake.read("evidence").to_pylist()
    return sorted((row["event_date"], row["challenger"], row["clicks"]) for row in found)


def part(day: date, challenger: str, *clicks: int) -> tuple[pa.Table, dict[str, date | str]]:
    key: dict[str, date | str] = {"event_date": day, "challenger": challenger}
    return pa.Table.from_pylist([{**key, "clicks": count} for count in clicks]), key


def test_a_part_is_replaced_whole_and_its_neighbours_stay(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for rows in (part(FIRST, "1", 1, 2), part(FIRST, "2", 3), part(SECOND, "1", 4)):
        lake.replace_part("evidence", *rows)
    for _ in range(2):  # a repeat leaves the same
        lake.replace_part("evidence", *part(FIRST, "1", 9))
    assert parts(lake) == [(FIRST, "1", 9), (FIRST, "2", 3), (SECOND, "1", 4)]
    lake.replace_part("evidence", *part(FIRST, "it's", 5))
    assert (FIRST, "it's", 5) in parts(lake)


def test_old_days_are_dropped_but_for_the_values_that_are_spared(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.drop_before("evidence", SECOND, keep={"challenger": ["1"]})  # there is none yet
    for rows in (part(FIRST, "1", 1), part(FIRST, "it's", 2), part(SECOND, "2", 3)):
        lake.replace_part("evidence", *rows)
    lake.drop_before("evidence", SECOND, keep={"challenger": ["it's"]})
    assert parts(lake) == [(FIRST, "it's", 2), (SECOND, "2", 3)]
    lake.drop_before("evidence", SECOND, keep={"challenger": []})
    assert parts(lake) == [(SECOND, "2", 3)]
