"""Exactly once: repeats, corrections, kills and races all end in the same table."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from ingest_bench import DAY, Bench, event

from tasks.errors import LakeError
from tasks.interactions import publish, stage
from tasks.interactions.lake import Lake
from tasks.interactions.neighbours import Neighbours
from tasks.interactions.publish import publish_day, published_revision
from tasks.interactions.reading import batches
from tasks.interactions.source import find_files
from tasks.interactions.staged import StagedDay

ROWS = [
    event(1),
    event(2),
    event(2),
    event(3, label=9),
    event(4, event_time="2026-11-01T10:00:00Z"),
]


def tables(bench: Bench) -> dict[str, Any]:
    """All that a reader sees, without the time of reading."""
    columns = ("event_id", "event_date", "source_day", "label", "source")
    return {"interactions": bench.published(*columns), "quarantine": bench.refused()}


def test_the_same_file_twice_changes_nothing(bench: Bench) -> None:
    bench.write_rows(ROWS)
    first = bench.run()
    before = tables(bench), bench.lake.version("quarantine")
    assert bench.run() == first
    bench.stage().discard()
    assert bench.run() == first
    assert (tables(bench), bench.lake.version("quarantine")) == before
    assert (first.rows_read, first.published, first.quarantined, first.duplicates) == (5, 3, 1, 1)
    assert (first.revision, first.superseded, first.version) == (1, None, 1)


def test_staging_is_reused_when_whole_and_cleared_when_not(bench: Bench) -> None:
    bench.write_rows(ROWS)
    staged = bench.stage()
    assert bench.stage().paths() == staged.paths()
    staged.paths()[0].write_bytes(b"torn")
    again = bench.stage()
    assert again.paths() != staged.paths()
    assert not staged.paths()[0].exists()
    assert again.read(["event_id", "event_date"]).num_rows == 3
    assert again.read().schema.equals(bench.lake.read("interactions").schema)
    assert again.read_quarantine().column("reason").to_pylist() == ["label is not 0 or 1"]


def test_batches_of_files_bring_what_one_batch_brings(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bench.source("{date}/*.jsonl")
    for number in range(4):
        # Events 0 to 9 come in every file, with another item each time; 10 and up in one alone.
        shared = [event(n, item_id=f"first{number}") for n in range(10)]
        rows = [*shared, event(10 + number), event(20 + number, label=7)]
        bench.write_rows(rows, f"2026-11-02/{number}.jsonl")
    monkeypatch.setattr(stage, "batches", lambda files, _: [files[:1], files[1:3], files[3:]])
    staged = bench.stage(source)
    assert (staged.rows_read, staged.published, staged.duplicates) == (48, 14, 30)
    assert len(list((staged.folder / "interactions").rglob("*.parquet"))) == 3
    publish_day(bench.lake, staged)
    assert bench.published("event_id", "item_id")[:2] == [("e0", "first0"), ("e1", "first0")]
    assert len(bench.published("event_id")) == 14
    assert [line for line, *_ in bench.refused()] == [12] * 4


def test_files_are_batched_in_order_by_their_size_as_text(bench: Bench) -> None:
    for number, size in enumerate((10, 10, 25, 10)):
        bench.write(f"{number}.jsonl", "x" * size)
    (bench.logs / "4.jsonl.gz").write_bytes(b"x" * 3)
    files = find_files(f"{bench.logs}/*", DAY)
    names = [[file.name[0] for file in run] for run in batches(files, 20)]
    assert names == [["0", "1"], ["2"], ["3"], ["4"]]


def test_a_corrected_file_replaces_its_rows_as_a_new_revision(bench: Bench) -> None:
    bench.write_rows([event(9, event_time="2026-11-01T09:00:00Z")], "2026-11-01.jsonl")
    bench.run(day=date(2026, 11, 1))
    bench.write_rows(ROWS)
    bench.run()
    bench.write_rows([event(1, label=0), event(5), event(6, label="?"), event(7, label="?")])
    second = bench.run()
    assert (second.revision, second.superseded) == (2, 1)
    assert bench.published("event_id", "label") == [("e1", 0), ("e5", 1), ("e9", 1)]
    assert len(bench.refused()) == 2
    bench.write_rows(ROWS)
    third = bench.run()
    assert (third.revision, third.superseded) == (3, 2)
    assert [row[0] for row in bench.published("event_id")] == ["e1", "e2", "e4", "e9"]
    assert len(bench.refused()) == 1
    assert published_revision(bench.lake, DAY) == 3
    assert published_revision(bench.lake, date(2030, 1, 1)) is None


def test_a_correction_without_refused_rows_clears_the_quarantine(bench: Bench) -> None:
    bench.write_rows(ROWS)
    bench.run()
    bench.write_rows([event(1)])
    bench.run()
    assert bench.refused() == []


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("step", ["_publish_quarantine", "_publish_interactions", "_replace"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("revision", [1, 2])
def test_a_kill_at_any_step_and_a_repeat_leave_the_same_tables(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, after: bool, revision: int
) -> None:
    if revision == 2:
        bench.write_rows([event(8), event(9, label="x")])
        bench.run()
    bench.write_rows(ROWS)
    real = getattr(publish, step)

    def killed(*arguments: Any) -> None:
        if after:
            real(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(publish, step, killed)
        with pytest.raises(Killed):
            bench.run()
    publication = bench.run()
    assert publication.revision == revision
    assert [row[0] for row in bench.published("event_id")] == ["e1", "e2", "e4"]
    assert len(bench.refused()) == 1


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from ingest_bench import Bench, DAY
module, name = {where!r}.rsplit(".", 1)
module = __import__(module, fromlist=[name])
real = getattr(module, name)
def killed(*arguments, **options):
    if {after!r}:
        real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, killed)
bench = Bench(Path({root!r}))
bench.run()
"""


@pytest.mark.parametrize(
    ("where", "after"),
    [
        ("tasks.interactions.reading.land", True),
        ("tasks.interactions.reading.write_parquet", True),
        ("tasks.interactions.stage.write_manifest", False),
        ("tasks.interactions.publish.place_files", True),
        ("tasks.interactions.publish.commit", True),
    ],
)
def test_sigkill_anywhere_and_a_repeat_leave_the_same_tables(
    bench: Bench, where: str, after: bool
) -> None:
    bench.write_rows(ROWS)
    folder = str(Path(__file__).parent)
    child = CHILD.format(folder=folder, where=where, after=after, root=str(bench.root))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run([sys.executable, "-c", child], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert bench.run().revision == 1
    assert [row[0] for row in bench.published("event_id")] == ["e1", "e2", "e4"]
    assert len(bench.refused()) == 1


def test_two_days_published_at_once_are_both_there(bench: Bench) -> None:
    days = [date(2026, 11, day) for day in range(2, 8)]
    for day in days:
        bench.write_rows([event(day.day, event_time=f"{day}T10:00:00Z")], f"{day}.jsonl")
    staged = [bench.stage(day=day) for day in days]
    with ThreadPoolExecutor(4) as pool:
        publications = list(pool.map(lambda s: publish_day(bench.lake, s), staged))
    assert [p.revision for p in publications] == [1] * 6
    assert [row[0] for row in bench.published("event_date")] == days


def test_the_same_day_published_at_once_is_there_once(bench: Bench) -> None:
    bench.write_rows(ROWS)
    staged = bench.stage()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: publish_day(bench.lake, staged), range(4)))
    assert [row[0] for row in bench.published("event_id")] == ["e1", "e2", "e4"]
    assert len(bench.refused()) == 1
    assert published_revision(bench.lake, DAY) == 1


def test_a_day_staged_before_its_neighbour_published_is_staged_anew(bench: Bench) -> None:
    bench.write_rows([event(1, event_time="2026-11-02T23:00:00Z")])
    bench.write_rows([event(1, event_time="2026-11-02T23:00:00Z")], "2026-11-03.jsonl")
    staged = bench.stage()
    bench.run(day=date(2026, 11, 3))
    with pytest.raises(LakeError, match="Run the day again"):
        publish_day(bench.lake, staged)
    assert (bench.run().published, len(bench.published("event_id"))) == (0, 1)


def test_rows_that_do_not_add_up_are_not_published(bench: Bench) -> None:
    from dataclasses import replace

    bench.write_rows(ROWS)
    staged: StagedDay = replace(bench.stage(), duplicates=0)
    with pytest.raises(LakeError, match="5 rows were read"):
        publish_day(bench.lake, staged)
    assert bench.lake.version("interactions") is None


def test_an_old_version_stays_readable_after_a_correction(bench: Bench) -> None:
    bench.write_rows(ROWS)
    first = bench.run()
    bench.write_rows([event(1)])
    bench.run()
    assert bench.lake.read("interactions", version=first.version).num_rows == 3


def test_of_two_neighbours_that_look_at_the_same_moment_the_second_looks_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Event 1 is in both days' files; each is published while the other has been compared already."""
    later = DAY + timedelta(days=1)
    bench.write_rows([event(1), event(2)])
    bench.write_rows(
        [event(1), event(3, event_time=f"{later}T01:00:00Z")], f"{later.isoformat()}.jsonl"
    )
    first, second = bench.stage(), bench.stage(day=later)
    look = publish.Neighbours.of

    def look_then_let_the_other_publish(lake: Lake, day: date) -> Neighbours:
        found = look(lake, day)
        monkeypatch.setattr(publish.Neighbours, "of", look)
        publish_day(bench.lake, second)
        return found

    monkeypatch.setattr(publish.Neighbours, "of", look_then_let_the_other_publish)
    with pytest.raises(LakeError, match="Run the day again"):
        publish_day(bench.lake, first)
    bench.run()
    assert bench.published("event_id") == [("e1",), ("e2",), ("e3",)]
