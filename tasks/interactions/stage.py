"""Staging: a day's logs become typed, deduplicated Parquet files beside the lake.

Everything runs inside DuckDB under a ceiling of memory; nothing is public before `publish_day`.
A repeat finds the finished staging, and clears a half-written one.
"""

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from tasks.errors import LakeError, SourceError
from tasks.interactions.engine import engine
from tasks.interactions.formats import Layout, check_files
from tasks.interactions.lake import Lake
from tasks.interactions.landing import check_any_parsed
from tasks.interactions.neighbours import Neighbours
from tasks.interactions.reading import Reading, batches
from tasks.interactions.rebase import can_rebase, rebase
from tasks.interactions.rows import FUTURE, MIND_BEHAVIORS, REQUIRED, WANTED, Window
from tasks.interactions.source import (
    Source,
    SourceFile,
    digest_of,
    find_files,
    fingerprint,
    is_daily,
)
from tasks.interactions.staged import StagedDay, read_manifest, write_manifest


def stage_day(
    source: Source,
    day: date,
    *,
    staging: Path,
    lake: Lake | None,
    memory_gib: float = 1.0,
    threads: int | None = None,
    now: datetime | None = None,
) -> StagedDay:
    """Read the logs of `day` into `staging/<day>/<digest>/`.

    Args:
        source: where the logs lie and how they are read.
        day: the day in the source's time zone.
        staging: a local folder of this pipeline.
        lake: asked for what other days have published of the same events; None to read ahead of
            them: the repeat with a lake then only compares.
        memory_gib: DuckDB's ceiling; beyond it, it spills into the staging folder.
        threads: DuckDB's threads; all processors by default.
        now: events later than this are refused; the present by default.

    Raises:
        SourceError: there are no logs of the day, or they cannot be read at all.
        LakeError: the accounting does not add up.
    """
    files = find_files(source.interactions, day)
    digest = fingerprint(source, files)
    folder = staging / day.isoformat() / digest[:16]
    neighbours = Neighbours.of(lake, day) if lake else Neighbours.none(day)
    staged = read_manifest(folder)
    if staged and FUTURE in {*staged.quarantine_reasons, *staged.homeless_reasons}:
        staged = None  # what was the future, by a wrong clock or too early, may be the past by now
    if staged and (lake is None or staged.neighbours == neighbours.paths(staged.days)):
        return staged
    if staged and can_rebase(staged, neighbours):
        staged = rebase(
            staged,
            neighbours,
            memory_gib=memory_gib,
            threads=threads,
            time_zone=source.time_zone,
        )
        check_accounting(staged)
        return staged
    shutil.rmtree(folder, ignore_errors=True)
    layout = _layout(source)
    check_files(files, layout)
    daily = is_daily(source.interactions)
    window = Window(day, source.time_zone, source.late_days, daily, now or datetime.now(UTC))
    spill = folder / "spill"
    with engine(
        spill, memory_gib=memory_gib, threads=threads, time_zone=source.time_zone
    ) as connection:
        reading = Reading(connection, layout, window, neighbours, folder)
        runs = batches([file for file in files if file.bytes], memory_gib * 2**30)
        for run in runs:
            reading.take(run)
        if len(runs) > 1:
            reading.drop_repeated()
        _check_content(reading, files)
        staged = _write(reading, digest)
    shutil.rmtree(spill)
    write_manifest(staged)
    return staged


def _layout(source: Source) -> Layout:
    if source.format == "mind":
        return Layout("mind", MIND_BEHAVIORS, (), {}, "source.columns", MIND_BEHAVIORS)
    return Layout(source.format, WANTED, REQUIRED, source.columns, "source.columns")


def _check_content(reading: Reading, files: Sequence[SourceFile]) -> None:
    """See that the files hold rows of the day at all."""
    lines, day = reading.counts["lines"], reading.window.day
    paths = f"{files[0].path} (one of {len(files)} files)"
    if not lines:
        raise SourceError(f"{paths} holds no rows. Deliver it again, then repeat the day.")
    check_any_parsed(reading.connection, files, reading.layout, lines, "all_refused")
    if not reading.counts["good"] and not reading.counts["refused"]:
        seen = sorted(reading.seen_days)
        there = f"its rows are of {seen[0]} to {seen[-1]}" if seen else "no row has a readable time"
        raise SourceError(
            f"{paths} holds no rows of {day}; {there}. "
            "Run one of those days, or check `source.time_zone`."
        )


def _write(reading: Reading, digest: str) -> StagedDay:
    """Write the refused rows, and account for every row that was read."""
    window, counts = reading.window, reading.counts
    event_days = sorted(reading.event_days)
    revision = _revision(reading, digest)
    interactions = tuple(part for part in reading.parts if part.rows)
    quarantine = reading.write_quarantine(revision, homeless=False)
    today = window.day.isoformat()
    staged = StagedDay(
        folder=reading.folder,
        day=window.day,
        digest=digest,
        revision=revision,
        interactions=interactions,
        quarantine=quarantine,
        homeless=reading.write_quarantine(revision, homeless=True),
        rows_read=counts["good"] + counts["refused"],
        published=sum(part.rows for part in interactions),
        quarantined=sum(file.rows for file in quarantine),
        duplicates=counts["doubled"],
        late=sum(part.rows for part in interactions if part.partition["event_date"] < today),
        quarantine_reasons=reading.reasons(homeless=False),
        homeless_reasons=reading.reasons(homeless=True),
        days=tuple(event_days),
        neighbours=reading.neighbours.paths(event_days),
    )
    check_accounting(staged)
    return staged


def _revision(reading: Reading, digest: str) -> str:
    if not reading.window.daily:
        return reading.content_digest()
    # Only the clock makes two of one file: the more of it was the future, the less was published.
    ahead = 0 if reading.window.is_over() else reading.reasons(homeless=False).get(FUTURE, 0)
    return digest_of([digest, str(ahead)]) if ahead else digest


def check_accounting(staged: StagedDay) -> None:
    """See that every row that was read is published, quarantined or a duplicate.

    Raises:
        LakeError: it is not; nothing may be published.
    """
    accounted = staged.published + staged.quarantined + staged.duplicates
    refused = sum(staged.quarantine_reasons.values())
    if staged.rows_read != accounted or staged.quarantined != refused:
        raise LakeError(
            f"{staged.day}: {staged.rows_read:,} rows were read, but {staged.published:,} "
            f"published + {staged.quarantined:,} quarantined + {staged.duplicates:,} duplicates "
            f"are {accounted:,}. Nothing was published; keep the files and report this."
        )
