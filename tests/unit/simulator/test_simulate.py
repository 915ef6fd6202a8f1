import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from small_portals import MONDAY, bytes_below, gzip_lines, parsed, read_lines, small

from tasks.errors import ConfigError
from tasks.simulator.simulate import generate_day, simulate

BUSY = {"late_share": 0.1, "duplicate_share": 0.1, "malformed_share": 0.1}
# a weekday has 330 impressions of 5 candidates
LATE_ROWS = 33 * 5
MALFORMED_ROWS = 165


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three days with many planted faults, and what the simulator says of them."""
    folder = tmp_path_factory.mktemp("simulated")
    seen = []
    summary = simulate(
        small(**BUSY),
        out=folder / "logs",
        first_day=MONDAY,
        days=3,
        truth=folder / "truth.parquet",
        progress=seen.append,
    )
    assert tuple(seen) == summary.days
    return summary


def write(out, days=2, **changed):
    simulate(small(**changed), out=out, first_day=MONDAY, days=days)
    return bytes_below(out)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_another_seed_gives_other_bytes_in_every_file(tmp_path):
    one, other = write(tmp_path / "a"), write(tmp_path / "b", seed=8)
    assert one.keys() == other.keys() and len(one) == 2 * 24 + 2
    assert all(one[path] != other[path] for path in one)


def test_a_days_bytes_do_not_depend_on_how_many_days_follow(tmp_path):
    two, four = write(tmp_path / "a"), write(tmp_path / "b", days=4)
    assert {path: four[path] for path in two} == two


def test_the_bytes_do_not_depend_on_pythons_hash_seed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from datetime import date;"
        "from tasks.simulator.settings import SimulatorSettings;"
        "from tasks.simulator.simulate import simulate;"
        "simulate(SimulatorSettings(impressions_per_day=50), out=Path(sys.argv[1]),"
        "first_day=date(2026, 3, 2), days=1)"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
    assert bytes_below(tmp_path / "1") == bytes_below(tmp_path / "2")


def test_writing_again_replaces_the_day(tmp_path):
    write(tmp_path, impressions_per_day=2000)
    again = write(tmp_path, impressions_per_day=3)
    assert len(again) < 20, "hours that are empty now have no file"
    assert again == write(tmp_path / "fresh", impressions_per_day=3)


def test_the_planted_counts_are_what_is_in_the_files(written):
    known: set[str] = set()
    for number, day in enumerate(written.days, start=1):
        lines = read_lines(written.out / "interactions" / day.day.isoformat())
        rows = [parsed(line) for _, line in lines]
        good = [row for row in rows if row and is_good(row)]
        ids = [row["event_id"] for row in good]
        assert len(lines) == day.lines
        assert len(lines) - len(good) == sum(day.malformed.values()) == MALFORMED_ROWS
        assert day.malformed == Counter(fault(row) for row in rows if not row or not is_good(row))
        assert len(ids) - len(set(ids) - known) == day.duplicates
        assert len(set(ids) - known) == day.readable
        late = {row["event_id"] for row in good if row["event_time"][:10] < day.day.isoformat()}
        assert len(late - known) == day.late == (0 if number == 1 else LATE_ROWS)
        known |= set(ids)


def is_good(row):
    return not fault(row)


def fault(row):
    if row is None:
        return "not a JSON object"
    for key in ("user_id", "item_id"):
        if key not in row:
            return f"{key} is missing"
    if row["label"] not in (0, 1):
        return "label is not 0 or 1"
    if not row["event_time"].endswith("Z"):
        return "event_time cannot be read"
    return ""


def test_every_hours_file_holds_what_happened_in_it_and_what_came_late(written):
    day = written.days[1]
    for hour, line in read_lines(written.out / "interactions" / day.day.isoformat()):
        row = parsed(line)
        if row and is_good(row) and row["event_time"][:10] == day.day.isoformat():
            assert int(row["event_time"][11:13]) in (hour, hour - 1)


def test_the_catalogue_knows_every_item_that_was_shown(written):
    known = set()
    for day in written.days:
        items = [parsed(line) for line in gzip_lines(written.out / f"items/{day.day}.json.gz")]
        known |= {item["item_id"] for item in items}
        shown = {
            row["item_id"]
            for _, line in read_lines(written.out / "interactions" / day.day.isoformat())
            if (row := parsed(line)) and "item_id" in row
        }
        assert shown <= known


def test_the_truth_has_every_row_once_and_is_what_generate_day_says(written):
    truth = pq.read_table(written.truth)
    days = [generate_day(small(**BUSY), first_day=MONDAY, number=day) for day in (1, 2, 3)]
    assert truth.column_names == ["event_id", "click_probability"]
    assert truth["event_id"].to_pylist() == [i for d in days for i in d["event_id"].to_pylist()]
    assert truth["click_probability"].to_pylist() == [
        p for d in days for p in d["click_probability"].to_pylist()
    ]


def test_no_log_holds_the_truth(written):
    logs = bytes_below(written.out)
    assert {path.split("/")[0] for path in logs} == {"interactions", "items"}
    for _, line in read_lines(written.out / "interactions" / MONDAY.isoformat()):
        assert "probability" not in line


def test_faults_do_not_change_what_happens():
    clean = generate_day(small(), first_day=MONDAY, number=2)
    assert clean.equals(generate_day(small(**BUSY), first_day=MONDAY, number=2))


@pytest.mark.parametrize("place", ["interactions/truth.parquet", "items/deep/truth.parquet"])
def test_a_truth_among_the_logs_is_refused_before_anything_is_written(tmp_path, place):
    with pytest.raises(ConfigError, match="Put it outside of the logs"):
        simulate(small(), out=tmp_path, first_day=MONDAY, days=1, truth=tmp_path / place)
    assert not list(tmp_path.iterdir())


def test_no_days_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="days is 0"):
        simulate(small(), out=tmp_path, first_day=MONDAY, days=0)


def test_ingest_finds_exactly_what_was_planted(written, tmp_path):
    from tasks.interactions.items import publish_items, stage_items
    from tasks.interactions.lake import Lake
    from tasks.interactions.publish import publish_day
    from tasks.interactions.source import Source
    from tasks.interactions.stage import stage_day

    lake = Lake(str(tmp_path / "lake"))
    source = Source(
        "jsonl",
        f"{written.out}/interactions/{{date}}/*.json.gz",
        items=f"{written.out}/items/{{date}}.json.gz",
    )
    now = datetime(2026, 4, 1, tzinfo=UTC)
    for day in written.days:
        items = publish_items(lake, stage_items(source, day.day, staging=tmp_path / "staging"))
        assert items.quarantined == 0
        staged = stage_day(source, day.day, staging=tmp_path / "staging", lake=lake, now=now)
        found = publish_day(lake, staged)
        assert (found.rows_read, found.published) == (day.lines, day.readable)
        assert (found.duplicates, found.late) == (day.duplicates, day.late)
        assert found.quarantine_reasons == day.malformed
