import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_bench import DAY, Bench, event

from tasks.errors import SourceError
from tasks.interactions import items
from tasks.interactions.items import ItemsPublication, publish_items, stage_items
from tasks.interactions.schema import ITEMS
from tasks.interactions.source import Source

MIND = Path(os.environ.get("MIND_DIR", Path(__file__).parents[4] / "shared" / "data" / "mind"))


def catalogue(bench: Bench, rows: list[dict[str, Any]]) -> ItemsPublication:
    bench.write("items.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return merge(bench, Source("jsonl", "", f"{bench.logs}/items.jsonl"))


def merge(bench: Bench, source: Source) -> ItemsPublication:
    staged = stage_items(source, DAY, staging=bench.staging, memory_gib=0.5, threads=1)
    return publish_items(bench.lake, staged, memory_gib=0.5, threads=1)


def titles(bench: Bench) -> dict[str, str]:
    rows = bench.lake.read("items", columns=["item_id", "title"]).to_pylist()
    assert len({row["item_id"] for row in rows}) == len(rows)
    return {row["item_id"]: row["title"] for row in rows}


def item(number: int, title: str, updated_at: str | None = None, **more: Any) -> dict[str, Any]:
    return {"item_id": f"n{number}", "title": title, "updated_at": updated_at} | more


def test_within_a_file_the_newest_row_wins_then_the_last_line(bench: Bench) -> None:
    rows = [
        item(1, "newest", "2026-11-02"),
        item(1, "older", "2026-11-01"),
        item(2, "first"),
        item(2, "last"),
        item(3, "undated"),
        item(3, "dated", "2026-11-01"),
        item(3, "undated again"),
    ]
    publication = catalogue(bench, rows)
    assert titles(bench) == {"n1": "newest", "n2": "last", "n3": "dated"}
    assert (publication.rows_read, publication.published, publication.duplicates) == (7, 3, 4)
    assert bench.lake.read("items").schema.equals(ITEMS)


def test_a_later_catalogue_updates_what_is_not_newer(bench: Bench) -> None:
    catalogue(bench, [item(1, "kept", "2026-11-05"), item(2, "old"), item(3, "alone")])
    catalogue(bench, [item(1, "stale", "2026-11-01"), item(2, "new"), item(4, "born")])
    assert titles(bench) == {"n1": "kept", "n2": "new", "n3": "alone", "n4": "born"}


def test_the_same_catalogue_is_merged_once(bench: Bench) -> None:
    rows = [item(1, "a"), item(2, "")]
    first = catalogue(bench, rows)
    catalogue(bench, [item(1, "b")])
    again = catalogue(bench, rows)
    assert (first.merged, again.merged) == (True, False)
    assert titles(bench) == {"n1": "b"}
    assert len(bench.refused()) == 1


def test_refused_items_are_quarantined_beside_the_days_rows(bench: Bench) -> None:
    bench.write_rows([event(1), event(2, label=7)])
    bench.run()
    rows = [item(1, "a"), item(2, " "), {"title": "x"}, item(3, "b", "soon")]
    publication = catalogue(bench, rows)
    assert publication.quarantine_reasons == {
        "item_id is missing": 1,
        "title is missing": 1,
        "updated_at cannot be read": 1,
    }
    assert publication.rows_read == publication.published + publication.quarantined == 4
    bench.write_rows([event(1), event(2)])
    assert bench.run().revision == 2
    assert [reason for _, reason, _ in bench.refused()] == [
        "title is missing",
        "item_id is missing",
        "updated_at cannot be read",
    ]


def test_times_and_attributes_are_kept(bench: Bench) -> None:
    attributes = {"author": "Zoë"}
    more = {"published_at": 1793613600, "attributes": attributes, "category": "news"}
    catalogue(bench, [item(1, "a", "2026-11-02T10:00:00+01:00", **more)])
    (row,) = bench.lake.read("items").to_pylist()
    assert row["published_at"] == datetime(2026, 11, 2, 10, tzinfo=UTC)
    assert row["updated_at"] == datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert (json.loads(row["attributes"]), row["category"]) == (attributes, "news")


def test_a_catalogue_without_titles_stops_the_day(bench: Bench) -> None:
    with pytest.raises(SourceError, match=r"no column 'title'.*'headline'.*source.item_columns"):
        catalogue(bench, [{"item_id": "n1", "headline": "a"}])
    bench.write("items.csv", "item_id,headline\nn1,a\n")
    renamed = Source("csv", "", f"{bench.logs}/items.csv", item_columns={"title": "headline"})
    assert merge(bench, renamed).published == 1


@pytest.mark.parametrize("step", ["place_files", "commit", "_merged_files", "_publish_quarantine"])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_step_and_a_repeat_leave_the_same_catalogue(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    catalogue(bench, [item(1, "a"), item(2, "a")])
    real = getattr(items, step)

    def killed(*arguments: Any, **options: Any) -> None:
        if after:
            real(*arguments, **options)
        raise KeyboardInterrupt

    rows = [item(2, "b"), item(3, "b"), item(4, "")]
    with monkeypatch.context() as patched:
        patched.setattr(items, step, killed)
        with pytest.raises(KeyboardInterrupt):
            catalogue(bench, rows)
    catalogue(bench, rows)
    assert titles(bench) == {"n1": "a", "n2": "b", "n3": "b"}
    assert len(bench.refused()) == 1


def test_a_day_rewrites_the_files_of_its_items_and_no_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "FILE_ITEMS", 10)

    def born(first: int, count: int) -> list[dict[str, Any]]:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            item(n, "born", published_at=(start + timedelta(hours=n)).isoformat())
            for n in range(first, first + count)
        ]

    catalogue(bench, born(0, 25))

    assert len(bench.lake.files("items")) == 3
    for day in range(20):
        before = set(bench.lake.files("items"))
        catalogue(bench, born(25 + 4 * day, 4))
        assert len(before - set(bench.lake.files("items"))) <= 1
    assert len(titles(bench)) == 25 + 80
    assert len(bench.lake.files("items")) < 2 * 105 / 10

    before = set(bench.lake.files("items"))
    catalogue(bench, [item(3, "corrected", "2026-12-01"), *born(105, 1)])
    assert len(before - set(bench.lake.files("items"))) in (1, 2)
    assert titles(bench)["n3"] == "corrected"
    assert len(titles(bench)) == 106


def test_items_are_looked_up_without_reading_files_that_hold_none_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "FILE_ITEMS", 2)
    catalogue(bench, [item(n, f"title {n}", f"2026-11-0{n}") for n in range(1, 8)])
    found = bench.lake.lookup("items", "item_id", pa.array(["n2", "n7", "unheard of"]))
    assert sorted(found["title"].to_pylist()) == ["title 2", "title 7"]
    assert found.schema.equals(ITEMS)

    for path in bench.lake.files("items"):
        if not {"n2", "n7"} & set(pq.read_table(path)["item_id"].to_pylist()):
            ids = pq.read_table(path, columns=["item_id"])
            pq.write_table(ids, path)  # without the other columns: whoever reads them sees nulls
    again = bench.lake.lookup("items", "item_id", pa.array(["n2", "n7"]))
    assert sorted(again["title"].to_pylist()) == ["title 2", "title 7"]
    assert bench.lake.lookup("items", "item_id", pa.array([], pa.string())).num_rows == 0


def test_catalogues_that_are_merged_at_once_bring_an_item_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "FILE_ITEMS", 2)
    catalogue(bench, [item(1, "a"), item(2, "a")])  # a full file: neither merge rewrites it
    staged = []
    for number in range(4):
        bench.write(f"{number}.jsonl", json.dumps(item(3, f"by {number}")) + "\n")
        source = Source("jsonl", "", f"{bench.logs}/{number}.jsonl")
        staged.append(stage_items(source, DAY, staging=bench.staging, threads=1))
    with ThreadPoolExecutor(4) as pool:
        assert all(
            one.merged for one in pool.map(lambda each: publish_items(bench.lake, each), staged)
        )
    assert len(titles(bench)) == 3


def test_minds_catalogue_has_no_header_and_eight_columns(bench: Bench) -> None:
    line = 'N1\tnews\tworld\t"It\'s" 5"\tabout\thttps://x\t[]\t[]\n'
    bench.write("news.tsv", line + "N2\tnews\t\t\t\t\t[]\t[]\nN3\tnews\n")
    publication = merge(bench, Source("mind", "", f"{bench.logs}/news.tsv"))
    (row,) = bench.lake.read("items").to_pylist()
    assert (row["title"], row["category"], row["text"]) == ('"It\'s" 5"', "news", "about")
    assert json.loads(row["attributes"]) == {"subcategory": "world"}
    assert [line for line, *_ in bench.refused()] == [2, 3]
    assert publication.rows_read == 3


@pytest.mark.mind
@pytest.mark.skipif(not MIND.is_dir(), reason="the MIND sample is not there: set MIND_DIR")
def test_the_mind_sample_has_51282_items_within_two_seconds(bench: Bench) -> None:
    started = time.process_time()
    publication = merge(bench, Source("mind", "", str(MIND / "news.tsv")))
    assert publication.published == publication.rows_read == 51_282
    assert time.process_time() - started < 2
