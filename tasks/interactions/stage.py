"""Staging: a day's logs become typed, deduplicated Parquet files beside the lake.

Everything runs inside DuckDB under a ceiling of memory; nothing is public before `publish_day`.
A repeat finds the finished staging, and clears a half-written one.
"""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import LakeError, SourceError
from tasks.interactions.engine import engine, text, texts
from tasks.interactions.formats import Layout, check_files
from tasks.interactions.lake import Lake
from tasks.interactions.landing import check_absent, check_any_parsed, find_refused, land
from tasks.interactions.neighbours import drop_known, neighbour_digest
from tasks.interactions.parquet import write_parquet
from tasks.interactions.rows import (
    MIND_BEHAVIORS,
    REQUIRED,
    WANTED,
    Window,
    mind_lines,
    mind_rows,
    typed_rows,
)
from tasks.interactions.source import (
    Source,
    SourceFile,
    digest_of,
    find_files,
    fingerprint,
    is_daily,
)
from tasks.interactions.staged import StagedDay, StagedFile, read_manifest, write_manifest

if TYPE_CHECKING:
    import duckdb


def stage_day(
    source: Source,
    day: date,
    *,
    staging: Path,
    lake: Lake,
    memory_gib: float = 1.0,
    threads: int | None = None,
    now: datetime | None = None,
) -> StagedDay:
    """Read the logs of `day` into `staging/<day>/<digest>/`.

    Args:
        source: where the logs lie and how they are read.
        day: the day in the source's time zone.
        staging: a local folder of this pipeline.
        lake: asked for what other days have published of the same events.
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
    staged = read_manifest(folder)
    if staged and staged.neighbours == neighbour_digest(lake, staged.days, day):
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
        read = _Reading(connection, [file for file in files if file.bytes], layout, window)
        read.land()
        staged = read.write(folder, digest, lake)
    shutil.rmtree(spill)
    write_manifest(staged)
    return staged


_OPTIONAL = ("position", "history", "surface", "dwell_seconds", "context")


def _layout(source: Source) -> Layout:
    if source.format == "mind":
        return Layout("mind", MIND_BEHAVIORS, (), {}, "source.columns", MIND_BEHAVIORS)
    return Layout(source.format, WANTED, REQUIRED, source.columns, "source.columns")


@dataclass(frozen=True)
class _Reading:
    """One run of DuckDB over a day's files; its tables are the state."""

    connection: "duckdb.DuckDBPyConnection"
    files: Sequence[SourceFile]
    layout: Layout
    window: Window

    def land(self) -> None:
        """Make `events` (the day's good rows), `quarantined` and `doubled`."""
        if self.layout.format == "mind":
            self._land_mind()
        else:
            self._land_rows()
        # The refused are looked for by one thread outside DuckDB, which is busy meanwhile.
        with ThreadPoolExecutor(max_workers=1) as pool:
            doubled = pool.submit(self._find_doubled)
            find_refused(self.connection, self.files, self.layout)
            doubled.result()
        self._check_content()

    def _land_rows(self) -> None:
        def typed(select: str) -> str:
            return typed_rows(select, self.window)

        land(self.connection, self.files, self.layout, typed, into="events")
        counted = ("user_id", "item_id", "event_time", "label", *WANTED[5:])
        check_absent(self.connection, self.files, self.layout, counted, "events")
        own, homeless = self.window.own(), self.window.homeless()
        self.connection.execute(
            f"""CREATE TEMP TABLE refused AS
            SELECT file, events.rowid - first AS record, reason, {homeless} AS homeless
            FROM events JOIN firsts USING (file)
            WHERE reason IS NOT NULL AND ({own} OR {homeless})
            UNION ALL SELECT file, record, reason, {not self.window.daily} FROM rejects"""
        )

    def _land_mind(self) -> None:
        def typed(select: str) -> str:
            return mind_lines(select, self.window)

        land(self.connection, self.files, self.layout, typed, into="impressions")
        own, homeless = self.window.own(), self.window.homeless()
        self.connection.execute(f"CREATE TABLE events AS {mind_rows(own)}")
        self.connection.execute(
            f"""CREATE TEMP TABLE refused AS
            SELECT file, impressions.rowid - first AS record, reason, {homeless} AS homeless
            FROM impressions JOIN firsts USING (file)
            WHERE reason IS NOT NULL AND ({own} OR {homeless})
            UNION ALL SELECT file, record - first, reason, false
            FROM events JOIN firsts USING (file) WHERE reason IS NOT NULL
            UNION ALL SELECT file, record, reason, {not self.window.daily} FROM rejects"""
        )

    @property
    def _good(self) -> str:
        return f"reason IS NULL AND {self.window.own()}"

    def _check_content(self) -> None:
        """See that the files hold rows of the day at all."""
        landed = "impressions" if self.layout.format == "mind" else "events"
        lines = self._one(
            f"SELECT (SELECT count(*) FROM {landed}) + (SELECT count(*) FROM rejects)"
        )
        paths = f"{self.files[0].path} (one of {len(self.files)} files)"
        if not lines:
            raise SourceError(f"{paths} holds no rows. Deliver it again, then repeat the day.")
        check_any_parsed(self.connection, self.files, self.layout, lines)
        own = self._one(f"SELECT count(*) FROM events WHERE {self.window.own()}")
        refused = self._one("SELECT count(*) FROM quarantined WHERE NOT homeless")
        if not own and not refused:
            spans = f"SELECT min(event_date), max(event_date) FROM {landed}"
            first, last = self.connection.execute(spans).fetchone() or (None, None)
            raise SourceError(
                f"{paths} holds no rows of {self.window.day}; its rows are of {first} to {last}. "
                "Run one of those days, or check `source.time_zone`."
            )

    def _find_doubled(self) -> None:
        """Make `doubled`: rows whose event stands earlier in the files.

        A 32-bit hash finds the candidates in one small aggregate; their full ids decide. Of a
        hundred million events one in a hundred is a candidate by chance.
        """
        id_hash = "(hash(event_id) >> 32)::UINTEGER"
        cursor = self.connection.cursor()
        cursor.execute(
            f"""CREATE TABLE candidates AS SELECT {id_hash} AS id_hash
            FROM events WHERE {self._good} GROUP BY ALL HAVING count(*) > 1"""
        )
        cursor.execute(
            f"""CREATE TABLE doubled AS SELECT again FROM (
            SELECT rowid AS again,
                row_number() OVER (PARTITION BY event_id ORDER BY rowid) AS occurrence
            FROM events WHERE {self._good}
            AND {id_hash} IN (SELECT id_hash FROM candidates))
            WHERE occurrence > 1"""
        )

    def write(self, folder: Path, digest: str, lake: Lake) -> StagedDay:
        """Write the Parquet files, and account for every row that was read."""
        day = self.window.day
        dates = self.connection.execute(
            f"SELECT DISTINCT event_date FROM events WHERE {self._good} ORDER BY ALL"
        ).fetchall()
        event_days = [event_day for (event_day,) in dates]
        rows_read = self._one(
            f"""SELECT (SELECT count(*) FROM events WHERE reason IS NULL AND {self.window.own()})
            + (SELECT count(*) FROM refused WHERE NOT homeless)"""
        )
        neighbours = drop_known(self.connection, lake, event_days, day, self._good)
        revision = digest if self.window.daily else self._content_digest()
        interactions = self._write_events(folder / "interactions", event_days)
        quarantine = self._write_quarantine(folder / "quarantine", revision, homeless=False)
        homeless = self._write_quarantine(folder / "quarantine", revision, homeless=True)
        staged = StagedDay(
            folder=folder,
            day=day,
            digest=digest,
            revision=revision,
            interactions=interactions,
            quarantine=quarantine,
            homeless=homeless,
            rows_read=rows_read,
            published=sum(file.rows for file in interactions),
            quarantined=sum(file.rows for file in quarantine),
            duplicates=self._one("SELECT count(*) FROM doubled"),
            late=sum(f.rows for f in interactions if f.partition["event_date"] < day.isoformat()),
            quarantine_reasons=self._reasons("NOT homeless"),
            homeless_reasons=self._reasons("homeless"),
            days=tuple(event_days),
            neighbours=neighbours,
        )
        check_accounting(staged)
        return staged

    def _write_events(self, folder: Path, event_days: Sequence[date]) -> tuple[StagedFile, ...]:
        names = texts([file.name for file in self.files])
        mind = self.layout.format == "mind"
        lines = "JOIN impressions ON impressions.rowid = events.record" if mind else ""
        optional = "".join(f"{column}, " for column in self._filled_columns())
        written = []
        for event_day in event_days:
            query = f"""
            SELECT event_id, events.event_time, events.impression_id, events.user_id, item_id,
                label, {optional}
                {text(datetime.now(UTC).isoformat())}::TIMESTAMPTZ AS ingest_time,
                {names}[events.file + 1] AS source
            FROM events {lines}
            WHERE events.reason IS NULL AND events.event_date = DATE '{event_day}'
            AND events.rowid NOT IN (SELECT again FROM doubled)"""
            partition = {
                "event_date": event_day.isoformat(),
                "source_day": self.window.day.isoformat(),
            }
            written.append(write_parquet(self.connection, query, folder, partition, "event_time"))
        return tuple(file for file in written if file.rows)

    def _filled_columns(self) -> list[str]:
        """The optional columns that hold anything; the others are left out of the files.

        A reader of the table sees NULL there, as Delta has it.
        """
        mind = self.layout.format == "mind"
        columns = [c for c in _OPTIONAL if not (mind and c == "history")]
        counts = ", ".join(f"count({column})" for column in columns)
        (present,) = self.connection.execute(f"SELECT {counts} FROM events").fetchall()
        filled = [column for column, count in zip(columns, present, strict=True) if count]
        return [*filled, "history"] if mind else filled

    def _write_quarantine(
        self, folder: Path, run: str, *, homeless: bool
    ) -> tuple[StagedFile, ...]:
        query = f"""
        SELECT raw, {texts([file.name for file in self.files])}[file + 1] AS source, line, reason
        FROM quarantined WHERE homeless = {homeless}"""
        partition = {"day": self.window.day.isoformat(), "run": run[:16]}
        written = write_parquet(self.connection, query, folder, partition)
        return (written,) if written.rows else ()

    def _reasons(self, condition: str) -> dict[str, int]:
        counted = self.connection.execute(
            f"SELECT reason, count(*) FROM quarantined WHERE {condition} "
            "GROUP BY reason ORDER BY count(*) DESC, reason"
        )
        return dict(counted.fetchall())

    def _content_digest(self) -> str:
        """Digest of the day's own rows, so that other days' rows in the file do not revise it."""
        columns = "event_id, epoch_us(event_time), impression_id, user_id, item_id, position, label"
        contents = [
            (f"{columns}, surface, dwell_seconds, context, history", f"events WHERE {self._good}"),
            ("reason, raw", "quarantined WHERE NOT homeless"),
        ]
        if self.layout.format == "mind":
            contents[0] = (columns, contents[0][1])
            contents.append(("impression_id, history", f"impressions WHERE {self._good}"))
        return digest_of([self._digest_rows(*content) for content in contents])

    def _digest_rows(self, columns: str, rows: str) -> str:
        """Digest of rows in any order: equal rows do not cancel out, as they would in XOR alone."""
        row = f"row({columns})::VARCHAR"
        totals = self.connection.execute(
            f"""SELECT count(*), bit_xor(md5_number({row})),
            sum(md5_number_lower({row})::HUGEINT) FROM {rows}"""
        )
        return str(totals.fetchone())

    def _one(self, query: str) -> int:
        return int(self.connection.execute(query).fetchall()[0][0])


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
