"""What one more day costs after a year: seconds, memory and reads of day 365 against day 30.

    python benchmarks/flat_cost.py [--days 365] [--rows 20000] [--folder F] [--json]

Simulates a stationary portal's logs, then runs `backfill` over them in one process, as the command
does, with the shipped `portal` pipeline and a cheap recipe: what has to be flat is the pipeline's
cost. After each day it notes what the day took, in F/days.jsonl. `--report F` prints the tables of
such a folder again, also of a run that is not finished.

Stationary means that a day looks like any other: as many births (150), rows and readers, each item
shown for six days. The catalogue grows for ever, by 150 items a day, as a real one does.
"""

import argparse
import json
import logging
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.environment import prepare_environment

ROOT = Path(__file__).parents[1]
FIRST_DAY = date(2025, 11, 3)
RECIPE = {"shots": 1024, "head_epochs": 8, "adapter_epochs": 0}
RECIPE_WORDS = ", ".join(f"{name} {value}" for name, value in RECIPE.items())
CHECKPOINTS = (30, 60, 120, 180, 240, 300, 365)
BASE = 30
GOAL = 1.3
WINDOW = 14
"""Days whose median stands for a checkpoint: two whole weeks, so that each weekday counts twice."""
PAGE_KIB = resource.getpagesize() // 1024
TICKS = os.sysconf("SC_CLK_TCK")
TABLES = ("interactions", "items", "item_hours", "profiles", "quarantine", "journal")


class Meter(logging.Handler):
    """Notes what each day took, when the stage that closes it says so.

    What the meter itself takes is not counted: the next day's clocks start after it.
    """

    CLOSED = re.compile(r"(\d{4}-\d\d-\d\d)  closed ")

    def __init__(self, home: Path, written: Path) -> None:
        super().__init__()
        self.home = home
        self.written = written
        self._start = self._clocks()

    def emit(self, record: logging.LogRecord) -> None:
        if found := self.CLOSED.match(record.getMessage()):
            now = self._clocks()
            took = {name: round(now[name] - self._start[name], 3) for name in now}
            day = {"day": found[1], **took, **self._memory(), **self._sizes()}
            with self.written.open("a") as lines:
                lines.write(json.dumps(day) + "\n")
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            self._start = self._clocks()

    def _clocks(self) -> dict[str, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return {
            "seconds": time.perf_counter(),
            "cpu": used.ru_utime + used.ru_stime,
            "server_cpu": sum((int(s[11]) + int(s[12])) / TICKS for s in children()),
            "read_mb": int(io["rchar"]) / 1e6,
            "reads": int(io["syscr"]),
        }

    def _memory(self) -> dict[str, float]:
        status = Path("/proc/self/status").read_text()
        kib = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status))
        return {
            "rss_mib": int(kib["VmRSS"]) / 1024,
            "peak_mib": int(kib["VmHWM"]) / 1024,
            "server_mib": sum(int(s[21]) * PAGE_KIB / 1024 for s in children()),
        }

    def _sizes(self) -> dict[str, Any]:
        lake = self.home / "lake" / "portal"
        return {
            "lake": {name: size_of(lake / name) for name in TABLES},
            "mlflow_mb": file_mb(self.home / "mlflow.db"),
            "prefect_mb": file_mb(self.home / "prefect" / "prefect.db"),
        }


def children() -> list[list[str]]:
    """What /proc says of each child of this process, from its state on."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(fields)
    return found


def size_of(folder: Path) -> tuple[int, float]:
    """Files below `folder`, and their megabytes."""
    sizes = [
        (Path(top) / name).stat().st_size for top, _, names in os.walk(folder) for name in names
    ]
    return len(sizes), round(sum(sizes) / 1e6, 3)


def file_mb(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 3) if path.exists() else 0.0


def write_config(folder: Path) -> Path:
    """The shipped file with the cheap recipe, on the folder's logs and home."""
    os.environ |= {"PORTAL_LOGS": str(folder / "logs"), "DAYSPRING_HOME": str(folder / "home")}
    config = yaml.safe_load((ROOT / "pipelines.yaml").read_text())
    del config["pipelines"]["mind"]
    config["pipelines"]["portal"]["finetune"] |= RECIPE
    path = folder / "pipelines.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def simulate(folder: Path, days: int, rows: int) -> None:
    from tasks.simulator.settings import SimulatorSettings
    from tasks.simulator.simulate import simulate as write

    settings = SimulatorSettings(impressions_per_day=rows // SimulatorSettings.slate_size)
    write(settings, out=folder / "logs", first_day=FIRST_DAY, days=days)


def run(folder: Path, days: int) -> None:
    """The backfill, as the command runs it, with the meter beside it."""
    config = write_config(folder)
    from flows.runs import run_range

    logging.getLogger("dayspring").addHandler(Meter(folder / "home", folder / "days.jsonl"))
    run_range(config, "portal", FIRST_DAY, FIRST_DAY + timedelta(days=days - 1), force=False)


def measured(folder: Path) -> list[dict[str, Any]]:
    """The days so far, with what the journal says of each: its stages, and whether it retrained."""
    from tasks.records import newest_closed
    from tasks.workspace import open_workspace

    closed = newest_closed(open_workspace(write_config(folder), "portal"))
    lines = (folder / "days.jsonl").read_text().splitlines()
    found = []
    for line in map(json.loads, lines):
        record = closed[date.fromisoformat(line["day"])].evidence["record"]
        number = (date.fromisoformat(line["day"]) - FIRST_DAY).days + 1
        kind = "retrained" if record["finetune"] else "not retrained"
        found.append({**line, "number": number, "kind": kind, "stages": record["seconds"]})
    return found


def around(days: Sequence[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The WINDOW days around day `number`; the last ones where it is near the end."""
    last = min(number + WINDOW // 2 - 1, days[-1]["number"])
    return [day for day in days if last - WINDOW < day["number"] <= last]


def median(days: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    return statistics.median(map(value, days)) if days else float("nan")


def summarise(days: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a checkpoint and kind of day: medians over its window."""
    rows = []
    for number in (n for n in CHECKPOINTS if n <= days[-1]["number"]):
        window = around(days, number)
        for kind in ("retrained", "not retrained"):
            of_kind = [day for day in window if day["kind"] == kind]
            rows.append({"number": number, "kind": kind, "days": len(of_kind), **medians(of_kind)})
    return rows


def medians(days: Sequence[dict[str, Any]]) -> dict[str, Any]:
    plain = ("seconds", "cpu", "server_cpu", "read_mb", "reads")
    plain += ("rss_mib", "peak_mib", "server_mib", "mlflow_mb", "prefect_mb")
    stages = dict.fromkeys(stage for day in days for stage in day["stages"])
    return {
        **{name: median(days, lambda day, name=name: day[name]) for name in plain},
        "stages": {
            stage: median(days, lambda day, stage=stage: day["stages"].get(stage, 0.0))
            for stage in stages
        },
        "lake_files": median(days, lambda day: sum(n for n, _ in day["lake"].values())),
        "lake_mb": median(days, lambda day: sum(mb for _, mb in day["lake"].values())),
        "journal_mb": median(days, lambda day: day["lake"]["journal"][1]),
        "items_mb": median(days, lambda day: day["lake"]["items"][1]),
    }


def main_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    heading = [
        "| day | kind (days) | seconds | CPU s | server's CPU s | MB read | RSS MiB | peak MiB "
        "| server MiB | lake files | lake MB | journal MB | MLflow MB | Prefect MB |",
        "|---:|---|" + "---:|" * 12,
    ]
    return heading + [
        f"| {row['number']} | {row['kind']} ({row['days']}) | {row['seconds']:.2f} "
        f"| {row['cpu']:.2f} | {row['server_cpu']:.2f} | {row['read_mb']:.1f} "
        f"| {row['rss_mib']:.0f} | {row['peak_mib']:.0f} | {row['server_mib']:.0f} "
        f"| {row['lake_files']:,.0f} | {row['lake_mb']:.1f} | {row['journal_mb']:.1f} "
        f"| {row['mlflow_mb']:.1f} | {row['prefect_mb']:.1f} |"
        for row in rows
        if row["days"]
    ]


def stage_table(rows: Sequence[dict[str, Any]], kind: str) -> list[str]:
    of_kind = [row for row in rows if row["kind"] == kind and row["days"]]
    stages = list(dict.fromkeys(stage for row in of_kind for stage in row["stages"]))
    lines = [f"| day, {kind} | " + " | ".join(stages) + " |", "|---:|" + "---:|" * len(stages)]
    for row in of_kind:
        cells = " | ".join(f"{row['stages'].get(stage, 0):.2f}" for stage in stages)
        lines.append(f"| {row['number']} | {cells} |")
    return lines


def ratios(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The last checkpoint against day BASE, by kind of day."""
    names = {
        "seconds": "seconds",
        "cpu": "CPU seconds",
        "server_cpu": "Prefect server's CPU seconds",
        "peak_mib": "peak memory",
        "rss_mib": "resident memory",
        "server_mib": "Prefect server's memory",
        "read_mb": "bytes read",
    }
    lines = []
    for kind in ("retrained", "not retrained"):
        of_kind = [row for row in rows if row["kind"] == kind and row["days"]]
        if len(of_kind) < 2:
            continue
        first, last = of_kind[0], of_kind[-1]
        said = ", ".join(f"{words} {last[n] / first[n]:.2f}" for n, words in names.items())
        lines.append(f"Day {last['number']} / day {first['number']}, {kind}: {said}.")
    return [*lines, f"Goal: seconds and memory within {GOAL}."]


def report(folder: Path, *, as_json: bool) -> str:
    days = measured(folder)
    rows = summarise(days)
    if as_json:
        return json.dumps({"recipe": RECIPE, "checkpoints": rows}, indent=2)
    parts = [
        [f"Recipe: {RECIPE_WORDS}. Medians over {WINDOW} days, of days of the same kind."],
        main_table(rows),
        stage_table(rows, "retrained"),
        stage_table(rows, "not retrained"),
        ratios(rows),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--days", type=int, default=CHECKPOINTS[-1])
    parser.add_argument("--rows", type=int, default=20_000, help="candidate rows a day")
    parser.add_argument("--folder", type=Path, help="keep logs, home and days.jsonl here")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--report", type=Path, metavar="F", help="only print F's tables")
    options = parser.parse_args()
    prepare_environment()
    if options.report:
        print(report(options.report, as_json=options.json))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        simulate(folder, options.days, options.rows)
        run(folder, options.days)
        print(report(folder, as_json=options.json))


if __name__ == "__main__":
    main()
