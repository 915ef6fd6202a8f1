"""Write a news portal's logs, whose true click probabilities are known.

    <out>/interactions/2026-03-02/07.json.gz   the rows delivered in an hour, JSON lines
    <out>/items/2026-03-02.json.gz             the day's births and updates; first every live item
    <truth>                                    Parquet: event_id, click_probability of every row

A day's bytes depend on the settings, the first day, and how many days lie between; not on how many
days follow.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import ConfigError
from tasks.simulator.clicks import day_rows, find_level, item_ids
from tasks.simulator.delivery import json_lines, plan_delivery
from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.slates import HOUR_US
from tasks.simulator.vocabulary import TOPICS
from tasks.simulator.world import Items, World, first_world, next_world

TRUTH = pa.schema([("event_id", pa.string()), ("click_probability", pa.float64())])

COMPRESSION = 1
"""Of gzip: the fastest; logs are a tenth larger than at the usual 6."""


@dataclass(frozen=True)
class DaySummary:
    """What was planted in one day's files: what a reader of them has to find."""

    day: date
    lines: int
    """Rows in the day's files, whatever their state."""
    late: int
    """Rows in them whose event is the day before's."""
    duplicates: int
    """Rows in them that are there, or were in the day before's files, already."""
    malformed: Mapping[str, int]
    """Rows in them that cannot be read, by what is wrong."""
    impressions: int
    """Slates shown on the day, whenever they are delivered."""
    clicks: int
    """Clicks on them."""
    births: int
    updates: int
    bytes: int
    """Size of the day's files."""

    @property
    def readable(self) -> int:
        """Rows that a reader publishes: neither malformed nor there already."""
        return self.lines - self.duplicates - sum(self.malformed.values())


@dataclass(frozen=True)
class SimulationSummary:
    """What was written."""

    out: Path
    truth: Path | None
    days: tuple[DaySummary, ...]

    @property
    def lines(self) -> int:
        """Rows in all files."""
        return sum(day.lines for day in self.days)

    @property
    def bytes(self) -> int:
        """Size of all files but the truth."""
        return sum(day.bytes for day in self.days)


def simulate(
    settings: SimulatorSettings,
    *,
    out: Path,
    first_day: date,
    days: int,
    truth: Path | None = None,
    progress: Callable[[DaySummary], None] | None = None,
) -> SimulationSummary:
    """Write `days` days of logs and catalogues under `out`, in place of any that are there.

    Rows that are late on the last day are still under way when it ends: no file has them.

    Args:
        settings: the portal.
        out: a folder, made if it does not exist.
        first_day: day 1, by UTC.
        days: 1 or more.
        truth: a Parquet file to write, outside of `out`'s logs; None writes none.
        progress: called after each day.

    Raises:
        ConfigError: no days, or `truth` lies among the logs.
    """
    if days < 1:
        raise ConfigError(f"days is {days}; simulate 1 or more.")
    if first_day.toordinal() + days > date.max.toordinal():
        raise ConfigError(
            f"{days} days from {first_day} end after {date.max}. Begin earlier, or simulate fewer."
        )
    _check_apart(out, truth)
    _check_folder(out)
    level = find_level(settings, first_day)
    summaries = []
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=2))
        book = stack.enter_context(_open_truth(truth)) if truth else None
        underway = _Underway.nothing()
        for world in islice(worlds(settings, first_day), days):
            rows = day_rows(world, level)
            if book:
                book.write_table(rows.select(TRUTH.names))
            summary, underway = _write_day(pool, world, rows, underway, out)
            summaries.append(summary)
            if progress:
                progress(summary)
    return SimulationSummary(out, truth, tuple(summaries))


def worlds(settings: SimulatorSettings, first_day: date) -> Iterator[World]:
    """The portal, day by day, without end."""
    world = first_world(settings, first_day)
    while True:
        yield world
        world = next_world(world)


def generate_day(settings: SimulatorSettings, *, first_day: date, number: int) -> pa.Table:
    """The rows of day `number` (1 is `first_day`) with their true click probability, in memory.

    These are the rows that `simulate` writes, before any is late, repeated or damaged; see
    `clicks.day_rows` for the columns. Earlier days cost only what moves the world on.
    """
    if number < 1:
        raise ConfigError(f"number is {number}; the first day is 1. Ask for 1 or more.")
    world = next(islice(worlds(settings, first_day), number - 1, None))
    return day_rows(world, find_level(settings, first_day))


@dataclass(frozen=True)
class _Underway:
    """Lines of one day that the next day's files deliver."""

    lines: pa.Array
    hour: np.ndarray
    """Hour of the next day's file that has each line."""
    late: int
    """How many have not been delivered before; the others are repeats."""

    @staticmethod
    def nothing() -> "_Underway":
        return _Underway(pa.array([], pa.string()), np.array([], np.int64), 0)


def _write_day(
    pool: ThreadPoolExecutor, world: World, rows: pa.Table, before: _Underway, out: Path
) -> tuple[DaySummary, _Underway]:
    """Write the files of `world`'s day; what was under way `before` is delivered in them."""
    hours = (rows["event_time"].cast(pa.int64()).to_numpy() - world.midnight) // HOUR_US
    delivery = plan_delivery(world, hours)
    folder = out / "interactions" / world.day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)

    def write_hour(hour: int) -> tuple[int, int]:
        lines = [
            _lines(rows, np.flatnonzero(delivery.hour == hour), delivery.damage),
            _lines(rows, np.flatnonzero(delivery.repeat_hour == hour), delivery.damage),
            before.lines.filter(pa.array(before.hour == hour)),
        ]
        return _write_hour(folder / f"{hour:02d}.json.gz", pa.concat_arrays(lines))

    written = list(pool.map(write_hour, range(24)))
    items_bytes = _write_items(out / "items" / f"{world.day}.json.gz", world.changed)
    late = np.flatnonzero(delivery.hour >= 24)
    repeated = np.flatnonzero(delivery.repeat_hour >= 24)
    repeats = int(np.count_nonzero(delivery.repeat_hour >= 0)) - len(repeated)
    summary = DaySummary(
        day=world.day,
        lines=sum(lines for lines, _ in written),
        late=before.late,
        duplicates=repeats + len(before.lines) - before.late,
        malformed=delivery.malformed(),
        impressions=rows.num_rows // world.settings.slate_size,
        clicks=int(np.count_nonzero(rows["label"].to_numpy())),
        births=world.settings.births_per_day,
        updates=world.num_updates,
        bytes=items_bytes + sum(size for _, size in written),
    )
    underway = _Underway(
        _lines(rows, np.concatenate([late, repeated]), delivery.damage),
        np.concatenate([delivery.hour[late], delivery.repeat_hour[repeated]]) - 24,
        len(late),
    )
    return summary, underway


def _lines(rows: pa.Table, chosen: np.ndarray, damage: np.ndarray) -> pa.Array:
    return json_lines(rows.take(pa.array(chosen)), damage[chosen])


def _write_hour(path: Path, lines: pa.Array) -> tuple[int, int]:
    """How many lines and bytes an hour has; one without lines has no file."""
    if not len(lines):
        path.unlink(missing_ok=True)
        return 0, 0
    # an array's texts lie end to end in one buffer, which is the file's content
    starts = np.frombuffer(lines.buffers()[1], np.int32)
    text = memoryview(lines.buffers()[2])[starts[lines.offset] : starts[lines.offset + len(lines)]]
    return len(lines), _write_gzip(path, text)


def _write_items(path: Path, items: Items) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = item_ids(items.number).to_pylist()
    rows = zip(
        ids, items.topic, items.title, items.text, items.published, items.updated, strict=True
    )
    lines = [
        json.dumps(
            {
                "item_id": item_id,
                "title": title,
                "text": text,
                "category": TOPICS[topic].topic,
                "published_at": _iso(published),
                "updated_at": _iso(updated),
            }
        )
        for item_id, topic, title, text, published, updated in rows
    ]
    return _write_gzip(path, "".join(f"{line}\n" for line in lines).encode())


def _write_gzip(path: Path, text: bytes | memoryview) -> int:
    """Whole or not at all, and without a time in it: the same text gives the same bytes."""
    packed = gzip.compress(text, COMPRESSION, mtime=0)
    part = path.with_suffix(".part")
    part.write_bytes(packed)
    part.replace(path)
    return len(packed)


def _open_truth(path: Path) -> pq.ParquetWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(path, TRUTH)


def _check_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be made a folder for the logs: {error.strerror}. Name another."
        ) from None


def _check_apart(out: Path, truth: Path | None) -> None:
    if truth is None:
        return
    for logs in (out / "interactions", out / "items"):
        if truth.resolve().is_relative_to(logs.resolve()):
            raise ConfigError(
                f"truth {truth} lies in {logs}, where a pipeline would read it. "
                "Put it outside of the logs."
            )


def _iso(micros: int) -> str:
    moment = datetime.fromtimestamp(int(micros) / 1e6, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
