"""Whatever the file: every line is published, quarantined or a duplicate, and none is invented."""

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ingest_bench import DAY, Bench, event

from tasks.errors import SourceError

GARBAGE = st.one_of(
    st.binary(max_size=12).filter(lambda b: b"\n" not in b),
    st.sampled_from([b"", b"   ", b"\r", b"null", b"[]", b"{}", b"{", b'"\xff"', b"\xef\xbb\xbf"]),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "event_id": st.sampled_from(["a", "b", "", None]),
        "user_id": st.one_of(st.text(max_size=3), st.none(), st.integers(), st.just([1])),
        "item_id": st.one_of(st.text(max_size=3), st.none()),
        "label": st.sampled_from([0, 1, "1", True, 2, None, "x", 0.5]),
        "event_time": st.sampled_from(
            ["2026-11-02T10:00:00", "2026-11-01", "2026-10-01", 1793613600, "x", None, 1e300]
        ),
        "position": st.one_of(st.integers(), st.floats(), st.text(max_size=2)),
        "dwell_seconds": st.one_of(st.floats(), st.text(max_size=2)),
        "history": st.one_of(st.none(), st.text(max_size=4), st.lists(st.text(max_size=2))),
    },
)
GOOD = json.dumps(event(0)).encode()


def as_line(changes: dict[str, Any]) -> bytes:
    return json.dumps(event(1) | changes).encode()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(GARBAGE, CHANGES.map(as_line)), max_size=12))
def test_every_json_line_is_accounted_for(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.write("2026-11-02.jsonl", b"\n".join([GOOD, *lines]))
        publication = bench.run()
        filled = [number for number, line in enumerate([GOOD, *lines], 1) if line.strip()]
        assert publication.rows_read == len(filled)
        accounted = publication.published + publication.quarantined + publication.duplicates
        assert accounted == len(filled)
        refused = bench.refused()
        assert len(refused) == publication.quarantined
        assert {line for line, *_ in refused} <= set(filled)
        events = [row[0] for row in bench.published("event_id")]
        assert len(events) == len(set(events)) == publication.published
        before = bench.published("event_id"), refused
        bench.run()
        assert (bench.published("event_id"), bench.refused()) == before


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(CELL, CELL, st.sampled_from(["0", "1", "x"]), CELL), max_size=12))
def test_every_csv_row_is_accounted_for_and_found_again(rows: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["user_id", "item_id", "label", "surface", "event_time"])
        starts = []
        for row in [("u", "i", "1", "s"), *rows]:
            starts.append(text.getvalue().count("\n") + 1)
            writer.writerow([*row, "2026-11-02 10:00:00"])
        bench.write("2026-11-02.csv", text.getvalue())
        publication = bench.run(bench.source("{date}.csv", "csv"))
        assert publication.rows_read == len(rows) + 1
        bad = [not user or not item or label == "x" for user, item, label, _ in rows]
        expected = [line for line, refused in zip(starts[1:], bad, strict=True) if refused]
        assert [line for line, *_ in bench.refused()] == expected


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(b"\x00", "mind")
@given(st.binary(max_size=200), st.sampled_from(["jsonl", "csv", "tsv", "parquet", "mind"]))
def test_any_bytes_end_in_a_publication_or_a_source_error(content: bytes, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.write("2026-11-02.log", content)
        try:
            publication = bench.run(bench.source("{date}.log", form), DAY)
        except SourceError as error:
            assert "2026-11-02.log" in str(error)
        else:
            assert publication.published == 0
