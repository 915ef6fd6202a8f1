"""How much a published, deduplicated, accounted-for day costs beside DuckDB's bare conversion.

    python benchmarks/ingest.py --rows 5000000 [--also 20000000] [--repeats 3] [--json]

The logs: JSON lines in 24 files, one candidate row a line; 1 row in 100 comes twice, 1 line in
1,000 cannot be parsed. Bare: DuckDB reads them and writes one Parquet file. Ours: `stage_day` and
`publish_day` into an empty lake. Each run is a process of its own, the two in turns; the best of each
counts. Processor seconds include the imports.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

DAY = date(2026, 11, 1)
FILES = 24


def generate(logs: Path, rows: int) -> None:
    """Write the day's logs; the same `rows` give the same bytes."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": "4GB"})
    step = 86_400_000_000 // rows
    for number in range(FILES):
        first, last = rows * number // FILES, rows * (number + 1) // FILES
        # Every 100th row repeats the event 50 rows before it.
        row = f"SELECT CASE WHEN i % 100 = 99 THEN i - 50 ELSE i END AS i FROM range({first}, {last}) r(i)"  # noqa: S608
        line = f"""json_object(
            'event_id', printf('e%012d', i),
            'event_time', strftime(TIMESTAMP '{DAY}' + to_microseconds(i * {step}),
                '%Y-%m-%dT%H:%M:%S.%fZ'),
            'impression_id', printf('p%09d', i // 10),
            'user_id', printf('u%06d', hash(i // 10) % 200000),
            'item_id', printf('n%05d', hash(i) % 50000),
            'position', i % 10, 'label', (hash(i + 7) % 20 = 0)::INT,
            'surface', ['home', 'article', 'search'][1 + (hash(i // 10) % 3)::INT],
            'dwell_seconds', (hash(i) % 1000) / 10.0)::VARCHAR"""
        broken = f"CASE WHEN i % 1000 = 500 THEN left({line}, 90) ELSE {line} END"
        connection.execute(
            f"COPY (SELECT {broken} FROM ({row})) TO '{logs / f'{number:02d}.jsonl'}' "  # noqa: S608
            "(FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01')"
        )


def bare(logs: Path, work: Path) -> dict[str, float]:
    """DuckDB's own conversion of the same files."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    started = time.perf_counter()
    connection.execute(
        f"COPY (SELECT * FROM read_json('{logs}/{DAY}/*.jsonl', ignore_errors = true)) "  # noqa: S608
        f"TO '{work / 'bare.parquet'}' (FORMAT parquet)"
    )
    return {"seconds": time.perf_counter() - started}


def ours(logs: Path, work: Path) -> dict[str, float]:
    """From the files to a published day."""
    import deltalake  # noqa: F401, as DuckDB is imported before its clock starts
    import duckdb  # noqa: F401
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401

    from tasks.interactions.lake import Lake
    from tasks.interactions.publish import publish_day
    from tasks.interactions.source import Source
    from tasks.interactions.stage import stage_day

    lake = Lake(str(work / "lake"))
    source = Source("jsonl", f"{logs}/{{date}}/*.jsonl")
    now = datetime(2026, 11, 23, tzinfo=UTC)
    started = time.perf_counter()
    staged = stage_day(source, DAY, staging=work / "staging", lake=lake, now=now)
    publication = publish_day(lake, staged)
    seconds = time.perf_counter() - started
    assert publication.duplicates and publication.quarantined
    counts = ("rows_read", "published", "quarantined", "duplicates")
    return {"seconds": seconds} | {name: getattr(publication, name) for name in counts}


def measure(what: str, logs: Path) -> dict[str, float]:
    """One run in a process of its own, with its processor time and peak memory."""
    with tempfile.TemporaryDirectory(dir=logs.parent) as work:
        command = [sys.executable, __file__, "--child", what, str(logs), work]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def compare(rows: int, repeats: int) -> dict[str, float]:
    """One line of the table; the two take turns, so that a busy machine slows both."""
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        (logs / f"{DAY}").mkdir(parents=True)
        generate(logs / f"{DAY}", rows)
        gib = sum(path.stat().st_size for path in logs.glob("*/*")) / 2**30
        turns = [(measure("bare", logs), measure("ours", logs)) for _ in range(repeats)]
    theirs, mine = (min(runs, key=lambda run: run["seconds"]) for runs in zip(*turns, strict=True))
    return {
        "rows": rows,
        "gib": gib,
        "bare_seconds": theirs["seconds"],
        "seconds": mine["seconds"],
        "ratio": mine["seconds"] / theirs["seconds"],
        "bare_cpu": min(bare["cpu"] for bare, _ in turns),
        "cpu": min(ours["cpu"] for _, ours in turns),
        "bare_peak_mib": max(bare["peak_mib"] for bare, _ in turns),
        "peak_mib": max(ours["peak_mib"] for _, ours in turns),
        "published": mine["published"],
        "quarantined": mine["quarantined"],
        "duplicates": mine["duplicates"],
    }


def table(results: list[dict[str, float]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| rows | input GiB | bare s | ours s | ratio | bare CPU s | our CPU s | bare peak MiB "
        "| our peak MiB | published | quarantined | duplicates |",
        "|---" * 12 + "|",
    ]
    lines += [
        "| {rows:,} | {gib:.2f} | {bare_seconds:.2f} | {seconds:.2f} | {ratio:.2f} "
        "| {bare_cpu:.2f} | {cpu:.2f} | {bare_peak_mib:,.0f} | {peak_mib:,.0f} "
        "| {published:,.0f} | {quarantined:,.0f} "
        "| {duplicates:,.0f} |".format(**result)
        for result in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print one table."""
    if sys.argv[1:2] == ["--child"]:
        what, logs, work = sys.argv[2:]
        measured = {"bare": bare, "ours": ours}[what](Path(logs), Path(work))
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime
        print(json.dumps(measured | {"cpu": cpu, "peak_mib": used.ru_maxrss / 1024}))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--also", type=int, help="a second size, for the memory")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    results = [compare(chosen.rows, chosen.repeats)]
    if chosen.also:
        results.append(compare(chosen.also, 1))
    print(json.dumps(results) if chosen.json else table(results))


if __name__ == "__main__":
    main()
