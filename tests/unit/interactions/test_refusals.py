"""What is refused, why, and with which line; and what stops the day instead."""

import gzip
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_bench import Bench, event

from tasks.errors import SourceError
from tasks.interactions.rows import FUTURE, NOT_JSON, NOT_UTF8

CASES: list[tuple[dict[str, Any], str]] = [
    ({"user_id": None}, "user_id is missing"),
    ({"user_id": ""}, "user_id is missing"),
    ({"item_id": None}, "item_id is missing"),
    ({"item_id": ["n1"]}, "item_id is not plain text"),
    ({"event_time": None}, "event_time is missing"),
    ({"event_time": "yesterday"}, "event_time cannot be read"),
    ({"event_time": 12}, "event_time cannot be read"),
    ({"event_time": "infinity"}, FUTURE),
    ({"event_time": "2026-11-03T01:00:01Z"}, FUTURE),
    ({"event_time": "2026-10-29T23:59:59Z"}, "too late"),
    ({"label": None}, "label is missing"),
    ({"label": 2}, "label is not 0 or 1"),
    ({"label": 0.6}, "label is not 0 or 1"),
    ({"position": "first"}, "position is not a whole number"),
    ({"position": 1.5}, "position is not a whole number"),
    ({"dwell_seconds": "NaN"}, "dwell_seconds is not a number"),
    ({"history": {"a": 1}}, "history is not a list of items"),
    ({"history": '["a", '}, "history is not a list of items"),
]


def test_each_broken_rule_is_told_by_its_own_reason(bench: Bench) -> None:
    rows = [event(n, **changes) for n, (changes, _) in enumerate(CASES)]
    bench.write_rows([event(100), *rows])
    publication = bench.run()
    assert publication.quarantined == len(CASES)
    for (line, reason, raw), row, (_, expected) in zip(bench.refused(), rows, CASES, strict=True):
        assert reason.startswith(expected), row
        assert json.loads(raw) == row
        assert line == 2 + rows.index(row)


def test_lines_that_are_no_json_object_keep_their_text_and_line(bench: Bench) -> None:
    good = json.dumps(event(1)).encode()
    broken = [
        b"not json",
        b"[1, 2]",
        b"null",
        b'{"user_id": "caf\xe9"}',
        good + good,
        b'{"a": "\0"}',
    ]
    lines = [b"{", b"", good, b"   ", *broken, b"\r", good.replace(b"e1", b"e2")]
    bench.write("2026-11-02.jsonl", b"\n".join(lines))
    publication = bench.run()
    assert bench.published("event_id") == [("e1",), ("e2",)]
    found = [(line, reason) for line, reason, _ in bench.refused()]
    assert found == [
        (1, NOT_JSON),
        (5, NOT_JSON),
        (6, NOT_JSON),
        (7, NOT_JSON),
        (8, NOT_UTF8),
        (9, NOT_JSON),
        (10, NOT_JSON),
    ]
    assert bench.refused()[4][2] == '{"user_id": "caf\\xe9"}'
    assert publication.quarantine_reasons == {NOT_JSON: 6, NOT_UTF8: 1}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_byte_order_mark_costs_no_row(bench: Bench, threads: int) -> None:
    for name, mark in (("1", b""), ("2", b"\xef\xbb\xbf"), ("3", b"\xef\xbb\xbf"), ("4", b"")):
        rows = "".join(json.dumps(event(n, event_id=f"{name}-{n}")) + "\n" for n in range(3))
        bench.write(f"2026-11-02/{name}.jsonl", mark + rows.encode())
    bench.write("2026-11-02/5.jsonl", b"\xef\xbb\xbfnot json\n")
    publication = bench.run(bench.source("{date}/*.jsonl"), threads=threads)
    assert (publication.published, publication.quarantined) == (12, 1)
    sources = {source for _, source in bench.published("event_id", "source")}
    assert sources == {f"2026-11-02/{name}.jsonl" for name in "1234"}


def test_lines_are_right_in_a_file_of_many_blocks(bench: Bench) -> None:
    rows = [json.dumps(event(n)) + " " * (n % 400) for n in range(12_000)]
    bad = {5: "x", 4_000: "y" * 2_000_000, 11_999: "z"}
    lines = [bad.get(n, row) for n, row in enumerate(rows)]
    lines.insert(7, "")
    bench.write("2026-11-02.jsonl", "\n".join(lines))
    bench.run()
    assert [(line, raw[:1]) for line, _, raw in bench.refused()] == [
        (6, "x"),
        (4_002, "y"),
        (12_001, "z"),
    ]
    assert max(len(raw) for *_, raw in bench.refused()) == 65_536


HEADER = "event_id,event_time,impression_id,user_id,item_id,label,comment\n"


def test_csv_rows_are_refused_with_their_line_around_quoted_line_breaks(bench: Bench) -> None:
    good = "e{0},2026-11-02 10:00:00,p,u,n{0},1,{1}\n"
    lines = [
        HEADER,
        good.format(1, '"two\nlines"'),
        "e2,2026-11-02 10:00:00,p,u,n2\n",
        good.format(3, "plain"),
        "e4,2026-11-02 10:00:00,p,,n4,1,\n",
        good.format(5, 'x,"more, than wanted"'),
        good.format(6, '"said ""so"""'),
        "e7,2026-11-02 10:00:00,p,u,n7,maybe,\n",
    ]
    body = "".join(lines).encode() + b"e8,2026-11-02 10:00:00,p,caf\xe9,n8,1,\n"
    bench.write("2026-11-02.csv", body)
    publication = bench.run(bench.source("{date}.csv", "csv"))
    assert bench.published("event_id") == [("e1",), ("e3",), ("e6",)]
    assert publication.rows_read == 8
    assert [(line, reason) for line, reason, _ in bench.refused()] == [
        (4, "wrong number of columns"),
        (6, "user_id is missing"),
        (7, "wrong number of columns"),
        (9, "label is not 0 or 1"),
        (10, NOT_UTF8),
    ]
    assert bench.refused()[1][2] == "e4,2026-11-02 10:00:00,p,,n4,1,"


def test_blank_lines_of_a_csv_are_no_rows_and_are_counted_as_lines(bench: Bench) -> None:
    bench.write(
        "2026-11-02.tsv",
        "user_id\titem_id\tevent_time\tlabel\r\nu\tn\t2026-11-02\t1\r\n\r\nu\t\t2026-11-02\t1\r\n",
    )
    publication = bench.run(bench.source("{date}.tsv", "tsv"))
    assert (publication.published, publication.rows_read) == (1, 2)
    assert bench.refused() == [(4, "item_id is missing", "u\t\t2026-11-02\t1")]


def test_a_refused_parquet_row_is_kept_as_json_with_its_number(bench: Bench) -> None:
    rows = pa.Table.from_pylist([event(1), event(2, label=7)])
    pq.write_table(rows, bench.logs / "2026-11-02.parquet")
    bench.run(bench.source("{date}.parquet", "parquet"))
    ((line, reason, raw),) = bench.refused()
    assert (line, reason, json.loads(raw)["label"]) == (2, "label is not 0 or 1", 7)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("2026-11-02.jsonl", b"", "is empty"),
        ("2026-11-02.jsonl", b"\n\n", "holds no rows"),
        ("2026-11-02.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("2026-11-02.jsonl", '{"user_id": "é"}\n'.encode("utf-16-le"), "can be parsed as jsonl"),
        ("2026-11-02.jsonl", b"PAR1....PAR1", "is Parquet"),
        ("2026-11-02.jsonl", gzip.compress(b"{}", mtime=0), "gzip without the suffix"),
        ("2026-11-02.jsonl", b"a,b,c\n1,2,3\n", "can be parsed as jsonl"),
    ],
)
def test_a_file_of_another_kind_stops_the_day(
    bench: Bench, name: str, content: bytes, words: str
) -> None:
    bench.write(name, content)
    with pytest.raises(SourceError, match=words) as error:
        bench.stage()
    assert name in str(error.value)
    assert bench.lake.version("interactions") is None


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_or_damaged_compressed_file_stops_the_day(bench: Bench, kept: float) -> None:
    body = "".join(json.dumps(event(n)) + "\n" for n in range(5_000)).encode()
    packed = {"gz": gzip.compress(body), "zst": pa.Codec("zstd").compress(body, asbytes=True)}
    for suffix, whole in packed.items():
        (bench.logs / f"2026-11-02.jsonl.{suffix}").write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(SourceError, match="truncated or damaged") as error:
            bench.stage(bench.source(f"{{date}}.jsonl.{suffix}"))
        assert f"2026-11-02.jsonl.{suffix}" in str(error.value)


def test_a_flipped_byte_in_gzip_stops_the_day(bench: Bench) -> None:
    body = "".join(json.dumps(event(n)) + "\n" for n in range(5_000)).encode()
    packed = bytearray(gzip.compress(body))
    packed[len(packed) // 2] ^= 0xFF
    (bench.logs / "2026-11-02.jsonl.gz").write_bytes(packed)
    with pytest.raises(SourceError, match="truncated or damaged"):
        bench.stage(bench.source("{date}.jsonl.gz"))


def test_a_broken_parquet_file_stops_the_day(bench: Bench) -> None:
    bench.write("2026-11-02.parquet", b"user_id,item_id\n")
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        bench.stage(bench.source("{date}.parquet", "parquet"))


def test_a_column_missing_from_a_whole_file_stops_the_day_and_names_the_closest(
    bench: Bench,
) -> None:
    renamed = [event(n) | {"userid": "u"} for n in range(3)]
    for row in renamed:
        del row["user_id"]
    bench.write_rows(renamed)
    with pytest.raises(SourceError, match=r"no column 'user_id'.*closest is 'userid'.*source.col"):
        bench.stage()
    bench.write("2026-11-02.csv", "uid,item_id,event_time,label\nu,n,2026-11-02,1\n")
    with pytest.raises(SourceError, match="no column 'user_id'"):
        bench.stage(bench.source("{date}.csv", "csv"))
    assert bench.run(bench.source(columns={"user_id": "userid"})).published == 3


def test_a_renamed_column_that_is_nowhere_stops_the_day(bench: Bench) -> None:
    bench.write_rows([event(1)])
    for column in ("surface", "event_id"):
        with pytest.raises(SourceError, match="no column 'page'"):
            bench.stage(bench.source(columns={column: "page"}))


def test_a_column_that_appears_late_in_a_file_is_not_missing(bench: Bench) -> None:
    rows = [event(n, surface="home") if n > 150 else event(n) for n in range(160)]
    bench.write_rows([{k.replace("surface", "page"): v for k, v in row.items()} for row in rows])
    assert bench.run(bench.source(columns={"surface": "page"})).published == 160


def test_quotes_in_names_are_no_code(bench: Bench) -> None:
    odd = 'it\'s "odd"; DROP TABLE events --'
    row = event(1) | {odd: "u9"}
    bench.write_rows([row], "2026-11-02 o'clock.jsonl")
    source = bench.source("{date} o'clock.jsonl", columns={"user_id": odd})
    assert bench.run(source).published == 1
    assert bench.published("user_id", "source") == [("u9", "2026-11-02 o'clock.jsonl")]
