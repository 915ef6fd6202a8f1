"""Reading a day's files in DuckDB, batch by batch: what is good, refused, or there before.

A batch is so many files as fit in memory together, so that a day of any size takes the memory of
one. An event that comes again in the same batch is dropped before it is written; one that comes
again in a later batch is taken out of that batch's file afterwards.
"""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.interactions.engine import text, texts
from tasks.interactions.formats import Layout
from tasks.interactions.landing import check_absent, find_refused, land
from tasks.interactions.neighbours import Neighbours
from tasks.interactions.parquet import write_parquet
from tasks.interactions.rows import Window, mind_lines, mind_rows, typed_rows
from tasks.interactions.source import SourceFile, digest_of
from tasks.interactions.staged import StagedFile

if TYPE_CHECKING:
    import duckdb

_OPTIONAL = ("position", "history", "surface", "dwell_seconds", "context")
_BATCH_TABLES = ("events", "impressions", "candidates", "doubled")
_COMPRESSED = 8
"""How many times larger a compressed or Parquet file is as text, at most and about."""


def batches(files: Sequence[SourceFile], most_bytes: float) -> list[list[SourceFile]]:
    """The files in order, in runs of at most `most_bytes` of text; a larger file is alone."""
    runs: list[list[SourceFile]] = []
    held = 0.0
    for file in files:
        packed = file.path.suffix in (".gz", ".zst", ".parquet")
        size = file.bytes * (_COMPRESSED if packed else 1)
        if not runs or held + size > most_bytes:
            runs.append([])
            held = 0.0
        runs[-1].append(file)
        held += size
    return runs


class Reading:
    """One day's files on their way through DuckDB, and the counts that account for them."""

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        layout: Layout,
        window: Window,
        neighbours: Neighbours,
        folder: Path,
    ) -> None:
        self.connection = connection
        self.layout = layout
        self.window = window
        self.neighbours = neighbours
        self.folder = folder
        self.parts: list[StagedFile] = []
        self.event_days: set[date] = set()
        self.seen_days: set[date] = set()
        self.counts: Counter[str] = Counter()
        self._contents: list[tuple[int, int, int]] = []
        connection.execute(
            "CREATE TABLE all_refused (source VARCHAR, line BIGINT, raw VARCHAR, "
            "homeless BOOLEAN, reason VARCHAR)"
        )

    @property
    def _mind(self) -> bool:
        return self.layout.format == "mind"

    @property
    def _good(self) -> str:
        return f"reason IS NULL AND {self.window.own()}"

    def take(self, files: Sequence[SourceFile]) -> None:
        """Read one batch and write its good rows."""
        if self._mind:
            self._land_mind(files)
        else:
            self._land_rows(files)
        # The refused are looked for by one thread outside DuckDB, which is busy meanwhile.
        with ThreadPoolExecutor(max_workers=1) as pool:
            doubled = pool.submit(self._find_doubled)
            find_refused(self.connection, files, self.layout)
            doubled.result()
        names = texts([file.name for file in files])
        self.connection.execute(
            f"""INSERT INTO all_refused
            SELECT {names}[file + 1], line, raw, homeless, reason FROM quarantined"""
        )
        rows = self.connection.execute(
            f"SELECT event_date, count(*) FROM events WHERE {self._good} GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        event_days = [event_day for event_day, _ in rows]
        self.event_days |= set(event_days)
        self.counts["good"] += sum(count for _, count in rows)
        self.neighbours.drop_known(self.connection, event_days, self._good)
        self._count()
        if not self.window.daily:
            self._digest_content()
        self._write(names, event_days)
        for table in _BATCH_TABLES:
            self.connection.execute(f"DROP TABLE IF EXISTS {table}")

    def _land_rows(self, files: Sequence[SourceFile]) -> None:
        def typed(select: str) -> str:
            return typed_rows(select, self.window)

        counted = ("user_id", "item_id", "event_time", "label", *_OPTIONAL)
        land(self.connection, files, self.layout, typed, into="events", counted=counted)
        check_absent(self.connection, files, self.layout, counted)
        own, homeless = self.window.own(), self.window.homeless()
        self.connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE refused AS
            SELECT file, events.rowid - first AS record, reason, {homeless} AS homeless
            FROM events JOIN firsts USING (file)
            WHERE reason IS NOT NULL AND ({own} OR {homeless})
            UNION ALL SELECT file, record, reason, {not self.window.daily} FROM rejects"""
        )

    def _land_mind(self, files: Sequence[SourceFile]) -> None:
        def typed(select: str) -> str:
            return mind_lines(select, self.window)

        land(self.connection, files, self.layout, typed, into="impressions", counted=())
        own, homeless = self.window.own(), self.window.homeless()
        self.connection.execute(f"CREATE TABLE events AS {mind_rows(own)}")
        self.connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE refused AS
            SELECT file, impressions.rowid - first AS record, reason, {homeless} AS homeless
            FROM impressions JOIN firsts USING (file)
            WHERE reason IS NOT NULL AND ({own} OR {homeless})
            UNION ALL SELECT file, record - first, reason, false
            FROM events JOIN firsts USING (file) WHERE reason IS NOT NULL
            UNION ALL SELECT file, record, reason, {not self.window.daily} FROM rejects"""
        )

    def _find_doubled(self) -> None:
        """Make `doubled`: rows whose event stands earlier in the batch.

        A 32-bit hash finds the candidates in one small aggregate; their full ids decide.
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
            FROM events WHERE {self._good} AND {id_hash} IN (SELECT id_hash FROM candidates))
            WHERE occurrence > 1"""
        )

    def _count(self) -> None:
        landed = "impressions" if self._mind else "events"
        self.counts["lines"] += self.one(f"SELECT count(*) FROM {landed}")
        self.counts["lines"] += self.one("SELECT count(*) FROM rejects")
        self.counts["refused"] += self.one("SELECT count(*) FROM refused WHERE NOT homeless")
        self.counts["doubled"] += self.one("SELECT count(*) FROM doubled")
        if not self.window.daily:
            seen = self.connection.execute(f"SELECT DISTINCT event_date FROM {landed}").fetchall()
            self.seen_days |= {seen_day for (seen_day,) in seen if isinstance(seen_day, date)}

    def _write(self, names: str, event_days: Sequence[date]) -> None:
        """Write the batch's good rows, a file for each event day."""
        lines = "JOIN impressions ON impressions.rowid = events.record" if self._mind else ""
        optional = "".join(f"{column}, " for column in self._filled_columns())
        for event_day in event_days:
            query = f"""
            SELECT event_id, events.event_time, events.impression_id, events.user_id, item_id,
                label, {optional}
                {text(datetime.now(UTC).isoformat())}::TIMESTAMPTZ AS ingest_time,
                {names}[events.file + 1] AS source
            FROM events {lines}
            WHERE events.reason IS NULL AND events.event_date = DATE '{event_day}'
            AND events.rowid NOT IN (SELECT again FROM doubled)"""
            self.parts.append(self._write_part(query, event_day.isoformat()))

    def _write_part(self, query: str, event_day: str) -> StagedFile:
        partition = {"event_date": event_day, "source_day": self.window.day.isoformat()}
        root = self.folder / "interactions"
        return write_parquet(self.connection, query, root, partition, "event_time")

    def _filled_columns(self) -> list[str]:
        """The optional columns that hold anything; the others are left out of the files.

        A reader of the table sees NULL there, as Delta has it.
        """
        if self._mind:
            return ["history"]
        counts = ", ".join(f"sum(filled_{column})" for column in _OPTIONAL)
        (present,) = self.connection.execute(f"SELECT {counts} FROM firsts").fetchall()
        return [column for column, count in zip(_OPTIONAL, present, strict=True) if count]

    def drop_repeated(self) -> None:
        """Take out of later batches' files what an earlier batch has brought."""
        if not self.parts:
            return
        paths = texts([str(self.folder / "interactions" / part.path) for part in self.parts])
        self.connection.execute(
            f"""CREATE TABLE candidates AS SELECT hash(event_id) AS id_hash
            FROM read_parquet({paths}, union_by_name = true) GROUP BY ALL HAVING count(*) > 1"""
        )
        if not self.one("SELECT count(*) FROM candidates"):
            return
        self.connection.execute("CREATE TABLE suspects (part BIGINT, event_id VARCHAR)")
        for number, part in enumerate(self.parts):
            self.connection.execute(
                f"""INSERT INTO suspects SELECT {number}, event_id FROM {self._reader(part)}
                WHERE hash(event_id) IN (SELECT id_hash FROM candidates)"""
            )
        self.connection.execute(
            """CREATE TABLE repeated AS SELECT part, event_id FROM suspects
            QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY part) > 1"""
        )
        parts = self.connection.execute("SELECT part, count(*) FROM repeated GROUP BY part")
        for number, count in parts.fetchall():
            part = self.parts[number]
            query = f"""SELECT * FROM {self._reader(part)} WHERE event_id NOT IN
                (SELECT event_id FROM repeated WHERE part = {number})"""
            self.parts[number] = self._write_part(query, part.partition["event_date"])
            (self.folder / "interactions" / part.path).unlink()
            self.counts["doubled"] += count

    def _reader(self, part: StagedFile) -> str:
        path = self.folder / "interactions" / part.path
        return f"read_parquet({text(str(path))}, hive_partitioning = false)"

    def write_quarantine(self, run: str, *, homeless: bool) -> tuple[StagedFile, ...]:
        """Write the refused rows of the day, or those that belong to no day."""
        query = f"SELECT raw, source, line, reason FROM all_refused WHERE homeless = {homeless}"
        partition = {"day": self.window.day.isoformat(), "run": run[:16]}
        written = write_parquet(self.connection, query, self.folder / "quarantine", partition)
        return (written,) if written.rows else ()

    def reasons(self, *, homeless: bool) -> dict[str, int]:
        """How often each reason was given, the most frequent first."""
        counted = self.connection.execute(
            f"SELECT reason, count(*) FROM all_refused WHERE homeless = {homeless} "
            "GROUP BY reason ORDER BY count(*) DESC, reason"
        )
        return dict(counted.fetchall())

    def _digest_content(self) -> None:
        columns = "event_id, epoch_us(event_time), impression_id, user_id, item_id, position, label"
        more = "surface, dwell_seconds, context, history"
        events = columns if self._mind else f"{columns}, {more}"
        contents = [
            (events, f"events WHERE {self._good}"),
            ("reason, raw", "quarantined WHERE NOT homeless"),
        ]
        if self._mind:
            contents.append(("impression_id, history", f"impressions WHERE {self._good}"))
        self._contents += [self._digest_rows(*content) for content in contents]

    def _digest_rows(self, columns: str, rows: str) -> tuple[int, int, int]:
        """Totals of rows in any order: equal rows do not cancel out, as they would in XOR alone."""
        ((count, mixed, total),) = self.connection.execute(
            f"""SELECT count(*), COALESCE(bit_xor(digest), 0),
            COALESCE(sum((digest % 18446744073709551616)::HUGEINT), 0)
            FROM (SELECT md5_number(row({columns})::VARCHAR) AS digest FROM {rows})"""
        ).fetchall()
        return int(count), int(mixed), int(total)

    def content_digest(self) -> str:
        """Digest of the day's own rows, so that other days' rows in the file do not revise it."""
        count = mixed = total = 0
        for batch_count, batch_mixed, batch_total in self._contents:
            count, mixed, total = count + batch_count, mixed ^ batch_mixed, total + batch_total
        return digest_of([str(count), str(mixed), str(total)])

    def one(self, query: str) -> int:
        """The number that a query gives."""
        return int(self.connection.execute(query).fetchall()[0][0])
