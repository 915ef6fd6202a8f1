"""How fast the simulator writes logs, beside the same rows written by json.dumps.

    python benchmarks/simulate.py [--rows 1000000] [--repeats 3] [--json]

Ours: `simulate` for one average day: worlds, slates, clicks, JSON lines, gzip, one file an hour. The
alternative: the same rows, already drawn, through `json.dumps` row by row into one gzip stream of
the same level; it writes a tenth of the rows, and its seconds are scaled. The best of the repeats.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.simulate import COMPRESSION, generate_day, simulate

Line = dict[str, Any]
Run = Callable[[SimulatorSettings, Path], Line]

FRIDAY = date(2026, 3, 6)
"""A day of average traffic."""
SAMPLE_SHARE = 0.1


def ours(settings: SimulatorSettings, folder: Path) -> Line:
    """Everything: from the seed to the files."""
    started = time.perf_counter()
    written = simulate(settings, out=folder, first_day=FRIDAY, days=1)
    seconds = time.perf_counter() - started
    return measured("simulate", written.lines, seconds, written.bytes)


def json_dumps(settings: SimulatorSettings, folder: Path) -> Line:
    """The rows alone, one by one; scaled up to what all of them take."""
    rows = generate_day(settings, first_day=FRIDAY, number=1).drop_columns("click_probability")
    sample = rows.slice(0, round(rows.num_rows * SAMPLE_SHARE)).to_pylist()
    path = folder / "rows.json.gz"
    started = time.perf_counter()
    with gzip.open(path, "wt", compresslevel=COMPRESSION) as stream:
        for row in sample:
            row["event_time"] = row["event_time"].isoformat(timespec="milliseconds")
            if row["dwell_seconds"] is None:
                del row["dwell_seconds"]
            stream.write(json.dumps(row) + "\n")
    seconds = time.perf_counter() - started
    scale = rows.num_rows / len(sample)
    return measured(
        "json.dumps, rows already drawn",
        rows.num_rows,
        seconds * scale,
        path.stat().st_size * scale,
    )


def measured(what: str, rows: int, seconds: float, size: float) -> Line:
    """One line of the table."""
    return {
        "what": what,
        "rows": rows,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "mib": size / 2**20,
    }


def best(run: Run, settings: SimulatorSettings, repeats: int) -> Line:
    """The fastest of several runs."""
    lines = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            lines.append(run(settings, Path(folder)))
    return min(lines, key=lambda line: line["seconds"])


def table(lines: list[Line]) -> str:
    """The results as a Markdown table."""
    shown = ["| writer | rows | seconds | rows/s | MiB |", "|---" * 5 + "|"]
    shown += [
        "| {what} | {rows:,} | {seconds:.2f} | {rows_per_second:,.0f} | {mib:.1f} |".format(**line)
        for line in lines
    ]
    return "\n".join(shown)


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    settings = SimulatorSettings(
        num_users=50_000,
        births_per_day=1_000,
        impressions_per_day=chosen.rows // 10,
        slate_size=10,
    )
    lines = [best(run, settings, chosen.repeats) for run in (ours, json_dumps)]
    print(json.dumps(lines) if chosen.json else table(lines))


if __name__ == "__main__":
    main()
