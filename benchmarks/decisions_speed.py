"""What profiles cost: seconds to make one and to compare two, bytes; and Evidently on the same columns.

    python benchmarks/decisions.py --only speed

A day is 1 million candidates: 100,000 impressions of 10, 80,000 users, 50,000 items, 20 categories, a dwell
time in every row. Ours reads the eight mapped columns; Evidently is handed eight columns ready made: the
category, surface, position, hour, slate length, dwell time, click, and whether the item was shown before.
It does not import under pandas 3, so it has a virtual environment of its own, made in a temporary folder.
Without a package index, its row says so.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from decisions_row import Row

from tasks.drift.effects import measure_effects
from tasks.drift.profile import ItemEmbeddings, Profile, profile_day
from tasks.drift.table import to_table
from tasks.interactions.schema import UTC_TIME

ROWS, SLATE, USERS, ITEMS, CATEGORIES = 1_000_000, 10, 200_000, 50_000, 20
DAYS = (date(2026, 11, 1), date(2026, 11, 2))
REPEATS = 9

Result = TypeVar("Result")

SETTING = "1 million rows × 8 columns"
CATALOGUE = pa.table(
    {
        "item_id": [f"n{item}" for item in range(ITEMS)],
        "category": [f"topic {item % CATEGORIES}" for item in range(ITEMS)],
    }
)

EVIDENTLY = """
import json, sys, time
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

before, now = (pd.read_parquet(path) for path in sys.argv[1:3])
definition = DataDefinition(
    numerical_columns=["position", "hour", "candidates", "dwell_seconds"],
    categorical_columns=["category", "surface", "label", "seen"],
)
seconds = []
for _ in range(2):
    started = time.perf_counter()
    sides = [Dataset.from_pandas(side, definition) for side in (now, before)]
    Report([DataDriftPreset()]).run(*sides).dict()
    seconds.append(time.perf_counter() - started)
print(json.dumps(seconds))
"""


def rows(share: float) -> Iterator[Row]:
    """Four figures of ours, then Evidently's; a small share leaves Evidently out: it takes a minute."""
    repeats = max(2, round(REPEATS * share))
    logs = [logged_day(number) for number in range(len(DAYS))]
    before = profile_day(logs[0], DAYS[0], catalogue=CATALOGUE)
    profiling, profile = best_of(
        repeats,
        lambda: profile_day(logs[1], DAYS[1], catalogue=CATALOGUE, before=before),
    )
    yield _row("seconds to profile a day", SETTING, 0.7, "at most 0.7 s", profiling)
    known = embeddings()
    with_text, full = best_of(
        repeats,
        lambda: profile_day(logs[1], DAYS[1], catalogue=CATALOGUE, before=before, embeddings=known),
    )
    words = f"{SETTING}, and embeddings of {ITEMS:,} items (384 wide)"
    yield _row("seconds to profile a day and its texts", words, None, "", with_text)
    yield from _comparison(
        repeats, profile_day(logs[0], DAYS[0], catalogue=CATALOGUE, embeddings=known), full
    )
    size = to_table(full, 1).nbytes / 1e6
    goal = "under 1 MB"
    yield Row("megabytes of a stored profile", words, goal, size, size, size, 1, 0.0, size < 1)
    if share == 1:
        ours = profiling.best + best_of(repeats, lambda: measure_effects(before, profile))[0].best
        yield from _evidently(logs, ours)


class Timing:
    """Seconds of each repeat."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    @property
    def best(self) -> float:
        """The repeat that other work on the machine held up least."""
        return min(self.wall)


def best_of(repeats: int, work: Callable[[], Result]) -> tuple[Timing, Result]:
    """The timing of `repeats` runs, and what the last one made."""
    timing = Timing()
    for _ in range(repeats):
        started, spent = perf_counter(), process_time()
        result = work()
        timing.wall.append(perf_counter() - started)
        timing.processor.append(process_time() - spent)
    return timing, result


def logged_day(seed: int) -> pa.Table:
    """A day's rows; items and users differ from day to day."""
    draw = np.random.default_rng(seed)
    impressions = ROWS // SLATE
    of = np.repeat(np.arange(impressions), SLATE)
    item = (ITEMS * draw.random(ROWS) ** 2).astype(np.int64)
    label = (draw.random(ROWS) < 0.1).astype(np.int8)
    midnight = np.datetime64(DAYS[seed], "us")
    seconds = np.sort(draw.integers(0, 86_400, impressions))
    surface = draw.choice(3, impressions, p=[0.6, 0.3, 0.1])
    return pa.table(
        {
            "event_time": pa.array((midnight + seconds.astype("m8[s]"))[of], UTC_TIME),
            "impression_id": _named("p", of),
            "user_id": _named("u", draw.integers(0, USERS, impressions)[of]),
            "item_id": _named("n", item),
            "position": pa.array(np.tile(np.arange(1, SLATE + 1, dtype=np.int32), impressions)),
            "label": label,
            "surface": pa.array(["home", "article", "search"]).take(pa.array(surface[of])),
            "dwell_seconds": draw.lognormal(3, 1, ROWS),
        }
    )


def embeddings() -> ItemEmbeddings:
    """Unit vectors of every item."""
    vectors = np.random.default_rng(9).normal(size=(ITEMS, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ItemEmbeddings(CATALOGUE["item_id"].combine_chunks(), vectors, "drawn")


def _named(prefix: str, numbers: np.ndarray) -> pa.Array:
    names = pa.array([f"{prefix}{number}" for number in range(int(numbers.max()) + 1)])
    return names.take(pa.array(numbers))


def _row(question: str, setting: str, limit: float | None, goal: str, timing: Timing) -> Row:
    """The best run; the interval ends with the worst, and the processor's own time is told."""
    return Row(
        question,
        f"{setting}; best to worst run, the best with {min(timing.processor):.2f} s of processor time",
        goal,
        timing.best,
        timing.best,
        max(timing.wall),
        len(timing.wall),
        sum(timing.wall),
        limit is None or timing.best <= limit,
    )


def _comparison(repeats: int, before: Profile, now: Profile) -> Iterator[Row]:
    timing, effects = best_of(3 * repeats, lambda: measure_effects(before, now))
    timing.wall = [1000 * seconds for seconds in timing.wall]
    row = _row(
        "milliseconds to compare two profiles",
        f"{len(effects)} effects",
        20,
        "at most 20 ms",
        timing,
    )
    yield Row(**{**vars(row), "seconds": row.seconds / 1000})


def _evidently(logs: list[pa.Table], ours: float) -> Iterator[Row]:
    started = perf_counter()
    question = "seconds Evidently takes for the same columns"
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.parquet" for number in range(len(logs))]
        for path, log in zip(paths, logs, strict=True):
            pq.write_table(_ready_made(log), path)
        try:
            found = _run_evidently(Path(folder), paths)
        except (OSError, subprocess.SubprocessError) as error:
            yield Row(
                question,
                f"not measured: {error}",
                "",
                0.0,
                0.0,
                0.0,
                0,
                perf_counter() - started,
                True,
            )
            return
    spent = perf_counter() - started
    best, worst = min(found), max(found)
    words = "1 million rows × 8 columns against as many"
    yield Row(question, f"{words}; without import", "", best, best, worst, len(found), spent, True)
    words += f"; ours: profile and comparison, {ours:.2f} s"
    ratio = best / ours
    yield Row(
        "times as long as ours", words, "", ratio, ratio, worst / ours, len(found), spent, True
    )


def _ready_made(log: pa.Table) -> pa.Table:
    """What Evidently compares, with nothing left to derive."""
    at = pc.index_in(log["item_id"], value_set=CATALOGUE["item_id"])
    plain = log.select(["position", "dwell_seconds", "surface", "label"])
    derived = {
        "category": CATALOGUE["category"].take(at.combine_chunks()),
        "hour": pc.hour(log["event_time"]),
        "candidates": pa.array(np.full(ROWS, SLATE)),
        "seen": pa.array(np.arange(ROWS) % 3 > 0),
    }
    for name, column in derived.items():
        plain = plain.append_column(name, column)
    return plain


def _run_evidently(folder: Path, days: list[Path]) -> list[float]:
    """Seconds of each run, in a virtual environment below `folder`."""
    home = folder / "venv"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "evidently", "pandas<3", "pyarrow"]
    subprocess.run(install, check=True, capture_output=True, timeout=900)
    measure = [python, "-I", "-W", "ignore", "-c", EVIDENTLY, *map(str, days)]
    quiet = {**os.environ, "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        measure, check=True, capture_output=True, text=True, timeout=900, env=quiet
    )
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


if __name__ == "__main__":
    for each in rows(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(each)
