"""One pipeline's Delta tables, on a folder or an object store.

Delta's log is the commit protocol: what is written carries application transactions, so that a
write repeated after a kill finds itself done. Credentials of object stores come from the
environment, which deltalake reads itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

import pyarrow as pa

from tasks.errors import LakeError, LakeUnavailable
from tasks.interactions.schema import INTERACTIONS, ITEM_HOURS, ITEMS, QUARANTINE

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.dataset import Dataset

SCHEMAS = {
    "interactions": INTERACTIONS,
    "items": ITEMS,
    "quarantine": QUARANTINE,
    "item_hours": ITEM_HOURS,
}
PARTITIONS = {
    "interactions": ["event_date", "source_day"],
    "items": [],
    "quarantine": ["day", "run"],
    "item_hours": ["event_date"],
}
ITEMS_RUN = "items-"
"""What the `run` of a refused catalogue row begins with in the quarantine."""
CONFIGURATION = {
    # Revisions are looked up in the log and models name table versions, so the log is kept.
    "delta.logRetentionDuration": "interval 3650 days",
    # Opening a table costs 0.4 ms for each commit since the last checkpoint, twenty times a day.
    "delta.checkpointInterval": "10",
}
ATTEMPTS = 8
"""Tries of a commit that other writers overtake; each starts from the newest version."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Lake:
    """The tables of one pipeline below `root`, a folder or an object store's URL."""

    root: str

    def uri(self, table: str) -> str:
        """Where `table` lies."""
        return f"{self.root.rstrip('/')}/{table}"

    def version(self, table: str) -> int | None:
        """The newest version of `table`; None before its first commit."""
        found = self.open(table)
        return None if found is None else found.version()

    def table_version(self, table: str) -> int:
        """The newest version of a table that must exist.

        Raises:
            LakeError: it does not.
        """
        version = self.version(table)
        if version is None:
            raise LakeError(f"{self.uri(table)} does not exist. Publish a day first.")
        return version

    def open(self, table: str, version: int | None = None) -> "DeltaTable | None":
        """The table's snapshot, by default the newest; None where the table does not exist."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        at = "" if version is None else f" at version {version}"
        with reaching(self.uri(table), f"opened{at}"):
            try:
                return DeltaTable(self.uri(table), version=version)
            except TableNotFoundError:
                return None

    def open_or_create(
        self, table: str, schema: pa.Schema, partition_by: Sequence[str]
    ) -> "DeltaTable":
        """The table's newest snapshot; created empty where it does not exist."""
        from deltalake import DeltaTable, Schema
        from deltalake.exceptions import CommitFailedError

        found = self.open(table)
        if found is not None:
            return found
        try:
            return DeltaTable.create(
                self.uri(table),
                Schema.from_arrow(schema),
                mode="ignore",
                partition_by=list(partition_by),
                configuration=CONFIGURATION,
            )
        except CommitFailedError:  # another writer has created it meanwhile
            return DeltaTable(self.uri(table))

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        days: tuple[date, date] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Rows of `table`, in no order; an empty table where it does not exist.

        Args:
            table: its name.
            columns: the only ones to read; all by default.
            days: first and last day, both included, of `event_date` (or of `day`, without it).
            version: a past version instead of the newest.
        """
        import pyarrow.dataset as ds

        opened = self.open(table, version)
        if opened is None:
            schema = SCHEMAS.get(table, pa.schema([]))
            return _projected(schema, columns).empty_table()
        wanted = None if columns is None else list(columns)
        if days is None:
            rows, chosen = rows_of(opened), None
        else:
            column = _day_column(pa.schema(opened.schema().to_arrow()), table)
            rows = rows_of(opened, _between(column, days))
            chosen = (ds.field(column) >= days[0]) & (ds.field(column) <= days[1])
        with reaching(self.uri(table), "read"):
            return rows.to_table(columns=wanted, filter=chosen)

    def count_after(
        self, table: str, column: str, moment: datetime, *, days: tuple[date, date], version: int
    ) -> int:
        """Rows of the days, both included, whose `column` is later than `moment`.

        Files are gone through in turn, so memory does not grow with the days.
        """
        import pyarrow.dataset as ds

        opened = self.open(table, version)
        if opened is None:
            return 0
        by_day = _day_column(pa.schema(opened.schema().to_arrow()), table)
        rows = rows_of(opened, _between(by_day, days))
        later = ds.field(column) > pa.scalar(moment, rows.schema.field(column).type)
        chosen = (ds.field(by_day) >= days[0]) & (ds.field(by_day) <= days[1])
        with reaching(self.uri(table), "read"):
            return rows.count_rows(filter=chosen & later)

    def lookup(
        self,
        table: str,
        column: str,
        values: pa.Array,
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Rows of `table` whose `column` is one of `values`, in no order.

        Of a file that holds none of them only that column is read, so a table that is written in
        the order of its age costs what the values cost, however much lies before them.
        """
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        opened = self.open(table, version)
        if opened is None:
            return SCHEMAS[table].empty_table()
        rows = rows_of(opened)
        wanted = ds.field(column).isin(values)
        found = [rows.schema.empty_table()]
        with reaching(self.uri(table), "read"):
            for file in rows.get_fragments():
                known = file.to_table(schema=rows.schema, columns=[column])[column]
                if pc.any(pc.is_in(known, value_set=values)).as_py():
                    found.append(file.to_table(schema=rows.schema, filter=wanted))
        return pa.concat_tables(found)

    def files(self, table: str, days: tuple[date, date] | None = None) -> list[str]:
        """Paths or URLs of the Parquet files of `table`, all or of the days, both included.

        A partition's column is in the path (`event_date=2026-11-01`), not in the file.
        """
        opened = self.open(table)
        if opened is None:
            return []
        wanted = None
        if days is not None:
            wanted = _between(_day_column(pa.schema(opened.schema().to_arrow()), table), days)
        uris: list[str] = opened.file_uris(file_pruning_predicate=wanted)
        return uris if local_folder(opened) is None else [unquote(uri) for uri in uris]

    def replace_day(
        self, table: str, day: date, rows: pa.Table, *, app_id: str, app_version: int
    ) -> int:
        """Make `rows` all that `table` holds of `day`, in one commit.

        A repeat with the same or an older `app_version` of `app_id` changes nothing.

        Returns:
            The table's version afterwards.
        """
        column = _day_column(rows.schema, table)
        predicate = f"{column} = '{day.isoformat()}'"
        self._write_once(
            table, rows, [column], app_id, app_version, mode="overwrite", predicate=predicate
        )
        return self.table_version(table)

    def replace_part(self, table: str, rows: pa.Table, part: Mapping[str, date | str]) -> None:
        """Make `rows` all that `table` holds where the partition columns are as `part` says.

        One commit; a repeat with the same rows leaves the same table.
        """
        from deltalake import write_deltalake

        def write() -> None:
            opened = self.open_or_create(table, rows.schema, list(part))
            write_deltalake(opened, rows, mode="overwrite", predicate=_where(part))

        with reaching(self.uri(table), "written"):
            retrying(write)

    def drop_before(self, table: str, day: date, *, keep: Mapping[str, Sequence[str]]) -> None:
        """Delete the rows of days before `day`, but for those whose column has a value of `keep`."""

        def drop() -> None:
            opened = self.open(table)
            if opened is None:
                return
            column = _day_column(pa.schema(opened.schema().to_arrow()), table)
            spared = [
                f"{name} NOT IN ({', '.join(map(_quoted, values))})"
                for name, values in keep.items()
                if values
            ]
            opened.delete(" AND ".join([f"{column} < '{day}'", *spared]))

        with reaching(self.uri(table), "cleared"):
            retrying(drop)

    def append_once(self, table: str, rows: pa.Table, *, app_id: str) -> bool:
        """Append `rows` in one commit; False where `app_id` was committed before."""
        partition_by = PARTITIONS.get(table, [])
        return self._write_once(table, rows, partition_by, app_id, 1, mode="append")

    def _write_once(
        self,
        table: str,
        rows: pa.Table,
        partition_by: list[str],
        app_id: str,
        app_version: int,
        *,
        mode: str,
        predicate: str | None = None,
    ) -> bool:
        from deltalake import CommitProperties, Transaction, write_deltalake

        def write() -> bool:
            opened = self.open_or_create(table, rows.schema, partition_by)
            done = opened.transaction_version(app_id)
            if done is not None and done >= app_version:
                return False
            write_deltalake(
                opened,
                rows,
                mode=mode,
                predicate=predicate,
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(app_id, app_version)]
                ),
            )
            return True

        with reaching(self.uri(table), "written"):
            return retrying(write)


def rows_of(table: "DeltaTable", files: str | None = None) -> "Dataset":
    """The table's rows as an Arrow dataset, to be filtered and projected before they are read.

    Args:
        table: a snapshot.
        files: SQL condition on partition columns. A file costs 1 ms to name here, read or not, and
            a table gets new ones every day: a reader of some days names those of these days alone.
    """
    import pyarrow.fs as pafs

    # Arrow's own file systems: deltalake's calls back into Python from Arrow's threads, which is
    # slower, and now and then aborts a process that ends meanwhile.
    folder = local_folder(table)
    if folder is None:
        store, path = pafs.FileSystem.from_uri(table.table_uri)
    else:
        store, path = pafs.LocalFileSystem(), str(folder)
    return table.to_pyarrow_dataset(
        filesystem=pafs.SubTreeFileSystem(path, store), file_pruning_predicate=files
    )


@contextmanager
def reaching(uri: str, purpose: str) -> Iterator[None]:
    """Turn what a store raises into an error with the next step.

    Args:
        uri: the table, or the lake.
        purpose: what cannot be done: "read", "written".

    Raises:
        LakeUnavailable: an object store does not answer or refuses.
        LakeError: a folder cannot be used, or the table's files contradict its log.
    """
    import duckdb
    from deltalake.exceptions import CommitFailedError, DeltaError

    # DuckDB's is what it makes of an error of Arrow's while it reads `rows_of` a table.
    broken = (DeltaError, OSError, pa.ArrowException, duckdb.InvalidInputException)
    try:
        yield
    except CommitFailedError:
        raise  # another writer was first: `retrying` looks again
    except broken as error:
        cause = _cause(error)
        if "://" in uri and not uri.startswith("file://"):
            raise LakeUnavailable(
                f"{uri} cannot be {purpose}: {cause}. Check that the store is up, its address "
                "(AWS_ENDPOINT_URL) and its credentials, then run it again; nothing was half-written."
            ) from error
        raise LakeError(
            f"{uri} cannot be {purpose}: {cause}. Check the folder's permissions and the free disk "
            "space, and restore files that are missing or damaged from a backup; then run it again. "
            "Nothing was half-written."
        ) from error


def _cause(error: Exception) -> str:
    """What went wrong, on one line: object stores draw a tree of causes, in colour."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).replace("↳", "")
    return " ".join(plain.split())[:300].rstrip(". ")


def local_folder(table: "DeltaTable") -> Path | None:
    """The folder that holds the table; None on an object store."""
    uri = table.table_uri
    if "://" in uri and not uri.startswith("file://"):
        return None
    return Path(unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri)


def retrying(attempt: Callable[[], _T]) -> _T:
    """The result of `attempt`, repeated while other writers commit first.

    Raises:
        LakeError: they did each time.
    """
    from deltalake.exceptions import CommitFailedError

    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except CommitFailedError as error:
            overtaken = error
    raise LakeError(
        f"Other writers committed first {ATTEMPTS} times: {overtaken}. "
        "Run it again when they have finished; nothing was half-written."
    ) from overtaken


def _projected(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    if columns is None:
        return schema
    return pa.schema([schema.field(column) for column in columns])


def _where(part: Mapping[str, date | str]) -> str:
    return " AND ".join(f"{name} = {_quoted(str(value))}" for name, value in part.items())


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _between(column: str, days: tuple[date, date]) -> str:
    return f"{column} >= '{days[0]}' AND {column} <= '{days[1]}'"


def _day_column(schema: pa.Schema, table: str) -> str:
    column = next((c for c in ("event_date", "day") if c in schema.names), None)
    if column is None:
        raise LakeError(
            f"{table} has neither event_date nor day, so days cannot be picked or replaced. "
            "Read it without `days`, or give its rows one of these columns."
        )
    return column
