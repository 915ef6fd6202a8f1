import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import RegistryError
from tasks.registry import journal as journals
from tasks.registry.evidence import strict_json
from tasks.registry.journal import JOURNAL, Journal, Outcome

DAY = date(2019, 11, 11)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path), "portal")


def outcome(reason: str = "because", **fields: object) -> Callable[[], Outcome]:
    return lambda: Outcome(reason, **fields)  # type: ignore[arg-type]


def refuse_to_run() -> Outcome:
    raise AssertionError("computed twice")


def test_an_event_is_computed_and_recorded_once(journal: Journal, tmp_path: Path) -> None:
    first = journal.once("11/published", "published", outcome("1,000 rows", day=DAY))

    again = Journal(str(tmp_path), "portal").once("11/published", "published", refuse_to_run)
    assert again == first
    assert journal.once("11/published", "published", refuse_to_run) == first
    assert journal.entries() == [first]


def test_an_entry_reads_back_as_it_was_recorded(journal: Journal, tmp_path: Path) -> None:
    evidence = {"gain": 0.012, "reasons": ["no champion yet"], "nothing": None, "text": "×\ud800"}
    written = journal.once(
        "k", "promoted", outcome(day=DAY, model_version="3", actor="ana", evidence=evidence)
    )

    read = Journal(str(tmp_path), "portal").find("k")
    assert read == written
    assert read is not None
    assert (read.pipeline, read.day, read.event, read.actor) == ("portal", DAY, "promoted", "ana")
    assert read.model_version == "3"
    assert read.evidence == evidence
    assert read.recorded_at.tzinfo is not None


def test_an_empty_journal_answers_without_being_created(journal: Journal, tmp_path: Path) -> None:
    assert journal.find("k") is None
    assert journal.entries() == []
    assert journal.champion_at(datetime.now(UTC)) is None
    assert list(tmp_path.iterdir()) == []


def test_entries_are_filtered_by_day_and_event_in_the_order_recorded(journal: Journal) -> None:
    for number, event in enumerate(["published", "trained", "published"]):
        journal.once(f"k{number}", event, outcome(day=DAY + timedelta(number)))

    assert [entry.key for entry in journal.entries()] == ["k0", "k1", "k2"]
    assert [entry.key for entry in journal.entries(event="published")] == ["k0", "k2"]
    assert [entry.key for entry in journal.entries(day=DAY, event="published")] == ["k0"]


def test_a_key_names_one_event(journal: Journal) -> None:
    journal.once("k", "promoted", outcome())

    with pytest.raises(RegistryError, match="'k' is recorded as 'promoted', not 'kept'"):
        journal.once("k", "kept", outcome())


def test_a_step_that_is_killed_records_nothing_and_runs_again(journal: Journal) -> None:
    with pytest.raises(AssertionError):
        journal.once("k", "trained", refuse_to_run)

    assert journal.find("k") is None
    assert journal.once("k", "trained", outcome("second run")).reason == "second run"


def test_of_two_writers_in_one_moment_one_records_and_both_get_its_entry(tmp_path: Path) -> None:
    mine, theirs = Journal(str(tmp_path), "portal"), Journal(str(tmp_path), "portal")
    mine.once("earlier", "published", outcome())

    def overtaken() -> Outcome:
        theirs.once("k", "promoted", outcome("theirs"))
        return Outcome("mine")

    assert mine.once("k", "promoted", overtaken).reason == "theirs"
    assert len(mine.entries()) == 2


def test_a_commit_that_is_overtaken_returns_the_winners_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = Journal(str(tmp_path), "portal"), Journal(str(tmp_path), "portal")
    mine.once("earlier", "published", outcome())
    genuine = write_deltalake

    def overtaken(*args: object, **kwargs: object) -> None:
        monkeypatch.setattr(journals, "write_deltalake", genuine)
        theirs.once("k", "promoted", outcome("theirs"))
        genuine(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(journals, "write_deltalake", overtaken)

    assert mine.once("k", "promoted", outcome("mine")).reason == "theirs"
    assert [entry.key for entry in mine.entries()] == ["earlier", "k"]


def test_threads_that_record_the_same_keys_leave_one_entry_a_key(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def record(name: int) -> list[str]:
        journal = Journal(str(tmp_path), "portal")
        start.wait()
        return [journal.once(f"k{k}", "scored", outcome(f"by {name}")).reason for k in range(5)]

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(record, range(4)))

    entries = Journal(str(tmp_path), "portal").entries()
    assert sorted(entry.key for entry in entries) == [f"k{k}" for k in range(5)]
    assert told == [told[0]] * 4


def test_an_entry_is_committed_again_when_another_writer_was_first_without_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that made the table at the same moment: Delta then refuses the append."""
    journal = Journal(str(tmp_path), "portal")
    journal.once("before", "scored", outcome("before"))
    commits = []

    def overtaken(table: DeltaTable, *arguments: object, **options: object) -> None:
        if not commits:
            DeltaTable(journal.uri).alter.set_table_properties({"delta.appendOnly": "false"})
        commits.append(table.version())
        write_deltalake(table, *arguments, **options)

    monkeypatch.setattr(journals, "write_deltalake", overtaken)
    assert journal.once("mine", "scored", outcome("mine")).reason == "mine"
    assert len(commits) == 2
    assert [entry.key for entry in journal.entries()] == ["before", "mine"]


def record_when_all_are_ready(root: str, name: str, barrier: Barrier) -> str:
    journal = Journal(root, "portal")
    barrier.wait(timeout=60)
    return journal.once("k", "promoted", outcome(name)).reason


def test_two_processes_that_record_one_key_get_one_entry(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, spawn.Pool(2) as pool:
        barrier = manager.Barrier(2)
        told = pool.starmap(
            record_when_all_are_ready, [(str(tmp_path), name, barrier) for name in ("a", "b")]
        )

    entries = Journal(str(tmp_path), "portal").entries()
    assert [entry.reason for entry in entries] == told[:1]
    assert told[0] == told[1]


def test_compaction_keeps_every_entry_its_order_and_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "FILES_BEFORE_COMPACTION", 4)
    writers = [Journal(str(tmp_path), "portal") for _ in range(2)]
    for number in range(20):
        writers[number % 2].once(f"k{number}", "scored", outcome())

    table = DeltaTable(writers[0].uri)
    assert len(table.file_uris()) < 8
    assert table.transaction_version("k0") == 1
    for journal in (*writers, Journal(str(tmp_path), "portal")):
        assert [entry.key for entry in journal.entries()] == [f"k{n}" for n in range(20)]
        assert journal.once("k0", "scored", refuse_to_run).key == "k0"


def test_merging_writes_no_more_for_a_long_journal_than_for_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "FILES_BEFORE_COMPACTION", 4)
    monkeypatch.setattr(journals, "COMPACTED_BYTES", 20_000)
    journal = Journal(str(tmp_path), "portal")
    known: set[str] = set()
    written = []
    for number in range(60):
        journal.once(f"k{number}", "scored", outcome(os.urandom(1_000).hex()))
        actions = pa.table(DeltaTable(journal.uri).get_add_actions())
        files = dict(zip(*actions.select(["path", "size_bytes"]).to_pydict().values(), strict=True))
        written.append(sum(size for path, size in files.items() if path not in known))
        known = set(files)

    assert sum(files.values()) > 80_000
    assert max(written[30:]) < 30_000
    assert len(known) < 12
    fresh = Journal(str(tmp_path), "portal")
    assert [entry.key for entry in fresh.entries()] == [f"k{n}" for n in range(60)]


def test_an_entry_is_never_recorded_before_its_predecessor(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BackwardsClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2001, 1, 1, tzinfo=UTC)

    journal.once("k0", "scored", outcome())
    monkeypatch.setattr(journals, "datetime", BackwardsClock)
    journal.once("k1", "scored", outcome())

    assert [entry.key for entry in Journal(journal.uri[:-8], "portal").entries()] == ["k0", "k1"]


def at(hour: int) -> datetime:
    return datetime(2019, 11, 11, hour, tzinfo=UTC)


def move(journal: Journal, event: str, version: str | None, hour: int) -> None:
    since = {"live_since": at(hour).isoformat()}
    journal.once(f"{event} {hour}", event, outcome(model_version=version, evidence=since))


def test_the_journal_says_which_model_was_live_at_any_time(journal: Journal) -> None:
    # 0 .. 3 zero-shot, 3 .. 6 version 1, 6 .. 9 version 2, 9 .. 12 version 1, 12 .. zero-shot
    move(journal, "promoted", "1", 3)
    move(journal, "promoted", "2", 6)
    journal.once("kept", "kept", outcome(model_version="3"))
    move(journal, "rolled_back", "1", 9)
    move(journal, "rolled_back", None, 12)

    live = {hour: journal.champion_at(at(hour)) for hour in (0, 2, 3, 5, 6, 8, 9, 11, 12, 20)}
    assert live == {
        0: None, 2: None, 3: "1", 5: "1", 6: "2", 8: "2", 9: "1", 11: "1", 12: None, 20: None
    }  # fmt: skip


def test_a_move_recorded_late_counts_from_when_the_alias_moved(journal: Journal) -> None:
    move(journal, "promoted", "2", 6)
    move(journal, "promoted", "1", 3)  # its run was killed after the alias moved, and repeated

    assert journal.champion_at(at(4)) == "1"
    assert journal.champion_at(at(7)) == "2"


def test_a_time_without_a_zone_is_refused(journal: Journal) -> None:
    with pytest.raises(RegistryError, match="names no time zone"):
        journal.champion_at(datetime(2019, 11, 11))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)  # fmt: skip


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_evidence_reads_back_as_the_same_values(evidence: dict[str, object]) -> None:
    assert json.loads(strict_json(evidence)) == evidence


@pytest.mark.parametrize(
    ("evidence", "named"),
    [
        ({"gain": float("nan")}, r"evidence\.gain is nan"),
        ({"metrics": {"auc": [0.5, float("inf")]}}, r"evidence\.metrics\.auc\[1\] is inf"),
        ({"day": DAY}, r"evidence\.day is a date"),
        ({"raw": b"x"}, r"evidence\.raw is a bytes"),
        ({"metrics": {1: 2}}, r"evidence\.metrics has the key 1"),
    ],
)
def test_evidence_that_is_not_strict_json_is_refused_by_its_path(
    journal: Journal, evidence: dict[str, object], named: str
) -> None:
    with pytest.raises(RegistryError, match=named):
        journal.once("k", "judged", outcome(evidence=evidence))
    assert journal.find("k") is None


def test_a_damaged_log_is_told_with_the_next_step(journal: Journal, tmp_path: Path) -> None:
    journal.once("k", "scored", outcome())
    (tmp_path / "journal" / "_delta_log" / f"{1:020}.json").write_text("no json")

    with pytest.raises(RegistryError, match=r"cannot be used.*restore it from a backup"):
        Journal(str(tmp_path), "portal").entries()


def test_deleted_rows_are_not_recorded_again(journal: Journal) -> None:
    journal.once("k", "promoted", outcome())
    DeltaTable(journal.uri).delete()

    with pytest.raises(RegistryError, match="rows were deleted"):
        journal.once("k", "promoted", outcome())


def test_a_year_of_entries_is_read_with_those_that_came_after_it(journal: Journal) -> None:
    # As a year of days leaves it: one compacted file and the small ones that came after it.
    journal.once("first", "published", outcome())
    evidence = strict_json({"curve": [[i / 100, i / 200] for i in range(100)]})
    now = datetime.now(UTC)
    rows = [
        {
            "key": f"k{i}", "recorded_at": now + timedelta(microseconds=i + 1),
            "pipeline": "portal", "day": DAY, "event": "published", "actor": "dayspring",
            "reason": "r", "model_version": None, "evidence": evidence,
        }
        for i in range(3_600)
    ]  # fmt: skip
    write_deltalake(journal.uri, pa.Table.from_pylist(rows, JOURNAL), mode="append")
    for number in range(50):
        journal.once(f"late {number}", "scored", outcome())

    fresh = Journal(journal.uri.removesuffix("/journal"), "portal")
    assert len(fresh.entries()) == 3_651
