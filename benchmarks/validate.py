"""Validation of one staged day: seconds and peak memory, beside Great Expectations used plainly.

    python benchmarks/validate.py [--rows 1000000 10000000] [--plain-rows 1000000] [--json]

The same rules hold for both. "Plain" is what the library's own tutorial does: one pandas frame of
all columns, text as Python objects, one batch. Each run is a process of its own; seconds are those
of the validation without the import of the library, which is shown too.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.environment import prepare_environment
from tasks.interactions.schema import INTERACTIONS, UTC_TIME

DAY = date(2026, 3, 1)
CHUNK = 1_000_000
ITEMS, USERS, SLATE, CLICK_RATE = 50_000, 200_000, 20, 0.04


def stage(path: Path, rows: int) -> None:
    """A good day of `rows` candidates, as ingest stages it."""
    with pq.ParquetWriter(path, INTERACTIONS) as writer:
        for first in range(0, rows, CHUNK):
            writer.write_table(candidates(first, min(CHUNK, rows - first), rows))


def candidates(first: int, count: int, rows: int) -> pa.Table:
    draw = np.random.default_rng(first)
    number = np.arange(first, first + count)
    seconds = number * 86_400 // rows
    columns = {
        "event_id": pa.array(np.char.add(f"portal-{DAY}-", number.astype(str))),
        "event_time": pa.array(np.datetime64(DAY, "us") + seconds.astype("m8[s]"), UTC_TIME),
        "event_date": repeated(DAY, count),
        "impression_id": pa.array(np.char.add("impression-", (number // SLATE).astype(str))),
        "user_id": pa.array(np.char.add("U", draw.integers(0, USERS, count).astype(str))),
        "item_id": pa.array(np.char.add("N", draw.integers(0, ITEMS, count).astype(str))),
        "position": pa.array(number % SLATE + 1, pa.int32()),
        "label": pa.array(draw.random(count) < CLICK_RATE).cast(pa.int8()),
        "surface": repeated("home", count),
        "dwell_seconds": pa.array(draw.exponential(30, count)),
        "source": repeated("logs/2026-03-01/00.json.gz", count),
        "source_day": repeated(DAY, count),
    }
    columns["ingest_time"] = columns["event_time"]
    empty = {f.name: pa.nulls(count, f.type) for f in INTERACTIONS if f.name not in columns}
    return pa.table({**columns, **empty}).select(INTERACTIONS.names).cast(INTERACTIONS)


def repeated(value: Any, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)


def known_items() -> pa.Array:
    return pa.array([f"N{number}" for number in range(ITEMS)])


def ours(path: Path, rows: int) -> list[bool]:
    from tasks.quality.suite import RecentDay, Settings
    from tasks.quality.validate import validate_day

    recent = [RecentDay(DAY - timedelta(days=back), rows, CLICK_RATE) for back in (1, 2, 3)]
    report = validate_day(
        [path], DAY, known_items=known_items(), recent=recent, settings=Settings()
    )
    return [result.success for result in report.results]


def plain(path: Path, rows: int) -> list[bool]:
    import great_expectations as gx
    import great_expectations.expectations as rule
    import pandas as pd

    frame = pq.read_table(path).to_pandas().astype(dict.fromkeys(
        ["event_id", "impression_id", "user_id", "item_id", "surface", "source"], object
    ))  # fmt: skip
    keys = ["event_id", "impression_id", "user_id", "item_id", "label", "event_time"]
    midnight = pd.Timestamp(DAY, tz="UTC")
    rules = [
        *[rule.ExpectColumnValuesToNotBeNull(column=key) for key in keys],
        rule.ExpectColumnValuesToBeUnique(column="event_id"),
        rule.ExpectColumnValuesToBeInSet(column="label", value_set=[0, 1]),
        rule.ExpectColumnValuesToBeBetween(
            column="event_time", min_value=midnight, max_value=midnight + pd.Timedelta(days=1)
        ),
        rule.ExpectTableRowCountToBeBetween(min_value=rows // 3, max_value=rows * 3),
        rule.ExpectColumnMeanToBeBetween(column="label", min_value=0.02, max_value=0.08),
        rule.ExpectColumnValuesToBeInSet(
            column="item_id", value_set=known_items().to_pylist(), mostly=0.9
        ),
    ]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("staged").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    verdict = batch.validate(gx.ExpectationSuite(name="day", expectations=rules))
    return [result.success for result in verdict.results]


WAYS: dict[str, Callable[[Path, int], list[bool]]] = {"ours": ours, "plain": plain}


def measure(way: str, path: Path, rows: int) -> dict[str, Any]:
    """One way in this process, after the library's import."""
    start = time.perf_counter()
    import great_expectations as gx

    imported = time.perf_counter()
    held = WAYS[way](path, rows)
    seconds = time.perf_counter() - imported
    assert all(held), held
    # Linux counts in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "way": way,
        "rows": rows,
        "expectations": len(held),
        "seconds": round(seconds, 2),
        "import_seconds": round(imported - start, 2),
        "peak_gib": round(peak, 2),
        "great_expectations": gx.__version__,
    }


def measure_in_own_process(way: str, path: Path, rows: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--rows", str(rows), "--measure", way, "--file", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(sizes: list[int], plain_sizes: list[int]) -> list[dict[str, Any]]:
    found = []
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "staged.parquet"
            stage(path, rows)
            ways = ["ours", "plain"] if rows in plain_sizes else ["ours"]
            found += [measure_in_own_process(way, path, rows) for way in ways]
    return found


def table(found: list[dict[str, Any]]) -> str:
    lines = ["| rows | way | seconds | peak GiB | seconds against plain | memory against plain |"]
    lines.append("|---:|---|---:|---:|---:|---:|")
    plains = {run["rows"]: run for run in found if run["way"] == "plain"}
    for run in found:
        beside = plains.get(run["rows"])
        ratios = (
            f"{run['seconds'] / beside['seconds']:.2f} | {run['peak_gib'] / beside['peak_gib']:.2f}"
            if beside
            else "not run | not run"
        )
        lines.append(
            f"| {run['rows']:,} | {run['way']} | {run['seconds']} | {run['peak_gib']} | {ratios} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument(
        "--plain-rows", type=int, nargs="*", default=[1_000_000], help="sizes to run plainly too"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--measure", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    prepare_environment()
    if options.measure:
        print(json.dumps(measure(options.measure, options.file, options.rows[0])))
        return
    found = compare(options.rows, options.plain_rows)
    print(json.dumps(found, indent=2) if options.json else table(found))


if __name__ == "__main__":
    main()
