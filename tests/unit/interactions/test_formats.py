"""Every format brings the same rows."""

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from ingest_bench import DAY, Bench, event

from tasks.interactions.schema import INTERACTIONS, QUARANTINE
from tasks.interactions.source import Source

MIND = Path(os.environ.get("MIND_DIR", Path(__file__).parents[4] / "shared" / "data" / "mind"))

ROWS = [
    event(1, position=3, surface="home", dwell_seconds=1.5, context='{"a": 1}'),
    event(2, position=None, surface=None, dwell_seconds=None, context=None),
    event(3, user_id="Zoë, «ü»", position=0, surface='a "b"', dwell_seconds=0.0, context="x\ty"),
]
COLUMNS = [name for name in INTERACTIONS.names if name not in ("ingest_time", "source", "history")]


def write(bench: Bench, form: str) -> Source:
    if form.startswith("jsonl"):
        body = "".join(json.dumps(row) + "\n" for row in ROWS)
        name = "2026-11-02." + form
        if form.endswith("zst"):
            packed = pa.Codec("zstd").compress(body.encode(), asbytes=True)
            bench.write(name, packed)
        else:
            bench.write(name, body)
        return bench.source(f"{{date}}.{form}")
    table = pa.Table.from_pylist(ROWS)
    path = bench.logs / f"2026-11-02.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        delimiter = "," if form == "csv" else "\t"
        pacsv.write_csv(table, path, pacsv.WriteOptions(delimiter=delimiter))
    return bench.source(f"{{date}}.{form}", form)


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "csv", "tsv", "parquet"])
def test_each_format_brings_the_same_rows(bench: Bench, form: str) -> None:
    publication = bench.run(write(bench, form))
    assert publication.published == publication.rows_read == 3
    time = datetime(2026, 11, 2, 10, 0, 1, tzinfo=UTC)
    first, second, third = bench.published(*COLUMNS)
    assert first == (
        *("e1", time, DAY, "p0", "u0", "n1", 3, 1, "home", 1.5, '{"a": 1}'),
        DAY,
    )
    assert second[6:11] == (None, 0, None, None, None)
    assert third[4] == "Zoë, «ü»"
    assert third[8:11] == ('a "b"', 0.0, "x\ty")


def test_a_published_table_has_exactly_the_agreed_schemas(bench: Bench) -> None:
    bench.write_rows([event(1, history=["n7"]), event(2, label=5)])
    bench.run()
    assert bench.lake.read("interactions").schema.equals(INTERACTIONS)
    assert bench.lake.read("quarantine").schema.equals(QUARANTINE)


def test_several_files_a_day_may_differ_in_their_columns(bench: Bench) -> None:
    bench.write("2026-11-02/a.csv", "user_id,item_id,event_time,label\nu,n1,2026-11-02,1\n")
    bench.write(
        "2026-11-02/b.csv", "label,item_id,event_time,user_id,position\n0,n2,2026-11-02,v,9\n"
    )
    bench.write("2026-11-02/c.csv", "")
    assert bench.run(bench.source("{date}/*.csv", "csv")).published == 2
    assert bench.published("item_id", "user_id", "label", "position", "source") == [
        ("n1", "u", 1, None, "2026-11-02/a.csv"),
        ("n2", "v", 0, 9, "2026-11-02/b.csv"),
    ]


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [
        ("2026-11-02T10:00:00.5Z", 500_000),
        ("2026-11-02 12:00:00.5+02:00", 500_000),
        ("2026-11-02 10:00:00", 0),
        (1793613600, 0),
        (1793613600.25, 250_000),
        (1793613600_123, 123_000),
        ("1793613600123456", 123_456),
    ],
)
def test_times_are_iso_or_epoch_in_seconds_ms_or_us(
    bench: Bench, written: Any, microseconds: int
) -> None:
    bench.write_rows([event(1, event_time=written)])
    bench.run()
    at = datetime(2026, 11, 2, 10, 0, 0, microseconds, tzinfo=UTC)
    assert bench.published("event_time") == [(at,)]


def test_parquet_types_of_its_own_are_cast(bench: Bench) -> None:
    at = datetime(2026, 11, 2, 10, tzinfo=UTC)
    table = pa.table(
        {
            "user": pa.array([7], pa.int64()),
            "item_id": pa.array([b"n1"], pa.binary()),
            "event_time": pa.array([at], pa.timestamp("ns", tz="Europe/Berlin")),
            "label": pa.array([True]),
            "history": pa.array([[{"item_id": "a", "label": 0}]]),
        }
    )
    pq.write_table(table, bench.logs / "2026-11-02.parquet")
    bench.run(bench.source("{date}.parquet", "parquet", columns={"user_id": "user"}))
    assert bench.published("user_id", "item_id", "event_time", "label", "history") == [
        ("7", "n1", at, 1, [{"item_id": "a", "label": 0}])
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["a", "b"], [("a", 1), ("b", 1)]),
        ([{"item_id": "a", "label": 0}, {"item_id": 5}], [("a", 0), ("5", 1)]),
        ("a b", [("a", 1), ("b", 1)]),
        ([], []),
        (None, None),
        ("", None),
    ],
)
def test_a_history_is_a_list_of_ids_with_or_without_labels(
    bench: Bench, written: Any, read: list[tuple[str, int]] | None
) -> None:
    bench.write_rows([event(1, history=written)])
    bench.run()
    expected = None if read is None else [{"item_id": i, "label": label} for i, label in read]
    assert bench.published("history") == [(expected,)]


def test_ids_are_derived_from_what_makes_an_event(bench: Bench) -> None:
    rows = [event(n, event_id=None, impression_id=None, user_id="u") for n in (1, 1, 2, 61)]
    bench.write_rows(rows)
    publication = bench.run()
    # 1 and 61 were shown at the same second, so they are one impression; 1 comes twice.
    assert (publication.published, publication.duplicates) == (3, 1)
    found = bench.published("item_id", "impression_id", "event_id")
    (_, first, _), (_, second, _), (_, third, _) = found
    assert first == third != second
    assert len({event_id for *_, event_id in found}) == 3


BEHAVIORS = (
    "1\tU1\t11/02/2026 2:14:46 PM\tN1 N2\tN3-1 N4-0 N4-0\n"
    "2\tU2\t11/02/2026 12:00:00 AM\t\tN3-0 N5 -1\n"
    "3\tU3\tsoon\tN1\tN3-1\n"
    "4\tU4\t11/03/2026 2:14:46 AM\t\tN3-1\n"
    "5\tU5\t11/02/2026 1:00:00 AM\n"
)


def test_mind_impressions_become_one_row_a_candidate(bench: Bench) -> None:
    bench.write("behaviors.tsv", BEHAVIORS)
    source = bench.source("behaviors.tsv", "mind")
    publication = bench.run(source)
    history = [{"item_id": "N1", "label": 1}, {"item_id": "N2", "label": 1}]
    afternoon = datetime(2026, 11, 2, 14, 14, 46, tzinfo=UTC)
    wanted = ("impression_id", "item_id", "label", "user_id", "event_time", "position", "history")
    assert bench.published(*wanted) == [
        ("1", "N3", 1, "U1", afternoon, None, history),
        ("1", "N4", 0, "U1", afternoon, None, history),
        ("2", "N3", 0, "U2", datetime(2026, 11, 2, tzinfo=UTC), None, []),
    ]
    assert publication.duplicates == 1
    assert [(line, reason) for line, reason, _ in bench.refused()] == [
        (2, "item_id is missing"),
        (2, "label is not 0 or 1"),
        (3, "event_time cannot be read"),
        (5, "wrong number of columns"),
    ]
    assert publication.rows_read == 3 + 1 + 4
    assert bench.run(source, date(2026, 11, 3)).rows_read == 1


@pytest.mark.mind
@pytest.mark.skipif(not MIND.is_dir(), reason="the MIND sample is not there: set MIND_DIR")
def test_every_candidate_of_the_mind_sample_is_published_once(bench: Bench) -> None:
    source = Source("mind", str(MIND / "behaviors.tsv"))
    days = [date(2019, 11, day) for day in range(9, 14)]
    publications = [bench.run(source, day) for day in days]
    candidates = sum(
        len(line.rstrip("\n").split("\t")[4].split())
        for line in (MIND / "behaviors.tsv").open(encoding="utf-8")
    )
    read = sum(p.rows_read for p in publications)
    assert read == sum(p.published + p.quarantined + p.duplicates for p in publications)
    assert read == candidates
    assert sum(p.quarantined for p in publications) == 0
    assert bench.lake.read("interactions", columns=["label"]).num_rows == sum(
        p.published for p in publications
    )
