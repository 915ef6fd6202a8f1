"""The catalogue: read like the logs, then merged into the table `items`, newest state first."""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import LakeError
from tasks.interactions.commit import commit, live_files, place_files
from tasks.interactions.engine import engine, text, texts
from tasks.interactions.formats import Layout, check_files
from tasks.interactions.lake import (
    ITEMS_RUN,
    PARTITIONS,
    SCHEMAS,
    Lake,
    reaching,
    retrying,
    rows_of,
)
from tasks.interactions.landing import check_absent, check_any_parsed, find_refused, land
from tasks.interactions.parquet import write_parquet
from tasks.interactions.rows import id_reasons, reason_sql, time_sql
from tasks.interactions.source import Source, SourceFile, catalogue_fingerprint, find_files
from tasks.interactions.staged import StagedFile, files_complete, read_json, write_json

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyarrow.dataset import Dataset

_WANTED = tuple(SCHEMAS["items"].names)
_MIND_NEWS = (
    "item_id",
    "category",
    "subcategory",
    "title",
    "text",
    "url",
    "title_entities",
    "abstract_entities",
)
FILE_ITEMS = 8192
"""Items of one file of the table, of like age: a day rewrites the files of the items it brings, and
reads those of the items it shows, so a catalogue may grow for years without a day's cost growing."""

MERGES = "items"
"""Application transaction that counts the merges."""

_MANIFEST = "items.json"
_OLDEST = "COALESCE(updated_at, '-infinity'::TIMESTAMPTZ)"


@dataclass(frozen=True)
class StagedItems:
    """A catalogue file's items, one row each, not yet merged."""

    folder: Path
    day: str
    digest: str
    items: StagedFile
    quarantine: StagedFile
    rows_read: int
    duplicates: int
    """Rows whose item has a newer row in the same files."""
    quarantine_reasons: Mapping[str, int]


@dataclass(frozen=True)
class ItemsPublication:
    """What a catalogue brought."""

    version: int
    """Of the table `items`."""
    rows_read: int
    published: int
    """Items of the files, each counted once."""
    quarantined: int
    duplicates: int
    quarantine_reasons: Mapping[str, int]
    merged: bool
    """False where the same catalogue had been merged before."""


def stage_items(
    source: Source,
    day: date,
    *,
    staging: Path,
    memory_gib: float = 1.0,
    threads: int | None = None,
) -> StagedItems:
    """Read the catalogue of `day` into `staging/<day>/items-<digest>/`; a repeat finds it done.

    Raises:
        SourceError: there is no catalogue, or it cannot be read at all.
        LakeError: the accounting does not add up.
    """
    files = find_files(source.items, day)
    digest = catalogue_fingerprint(source, files)
    folder = staging / day.isoformat() / f"items-{digest[:16]}"
    staged = _read_manifest(folder)
    if staged:
        return staged
    shutil.rmtree(folder, ignore_errors=True)
    layout = _layout(source)
    check_files(files, layout)
    files = [file for file in files if file.bytes]
    spill = folder / "spill"
    with engine(
        spill, memory_gib=memory_gib, threads=threads, time_zone=source.time_zone
    ) as connection:
        staged = _stage(connection, files, layout, folder, digest, day)
    shutil.rmtree(spill)
    body = asdict(replace(staged, folder=Path()))
    del body["folder"]
    write_json(folder / _MANIFEST, body)
    return staged


def publish_items(
    lake: Lake, staged: StagedItems, *, memory_gib: float = 1.0, threads: int | None = None
) -> ItemsPublication:
    """Merge a staged catalogue into `items`: newest `updated_at` wins, then what comes last.

    The same catalogue is merged once, whatever was killed and repeated.
    """

    def merge() -> bool:
        return _merge(lake, staged, memory_gib, threads)

    with reaching(lake.root, "written"):
        retrying(lambda: _publish_quarantine(lake, staged))
        merged = retrying(merge)
    return ItemsPublication(
        version=lake.table_version("items"),
        rows_read=staged.rows_read,
        published=staged.items.rows,
        quarantined=staged.quarantine.rows,
        duplicates=staged.duplicates,
        quarantine_reasons=staged.quarantine_reasons,
        merged=merged,
    )


def _layout(source: Source) -> Layout:
    if source.format == "mind":
        return Layout("mind", _MIND_NEWS, (), {}, "source.item_columns", _MIND_NEWS)
    required = ("item_id", "title")
    return Layout(source.format, _WANTED, required, source.item_columns, "source.item_columns")


def _stage(
    connection: "duckdb.DuckDBPyConnection",
    files: list[SourceFile],
    layout: Layout,
    folder: Path,
    digest: str,
    day: date,
) -> StagedItems:

    def typed(select: str) -> str:
        return _typed(select, layout)

    land(connection, files, layout, typed, into="catalogue", counted=_WANTED)
    check_absent(connection, files, layout, _WANTED)
    connection.execute(
        """CREATE TEMP TABLE refused AS
        SELECT file, catalogue.rowid - first AS record, reason, false AS homeless
        FROM catalogue JOIN firsts USING (file) WHERE reason IS NOT NULL
        UNION ALL SELECT file, record, reason, false FROM rejects"""
    )
    find_refused(connection, files, layout)
    (counts,) = connection.execute(
        """SELECT (SELECT count(*) FROM catalogue) + (SELECT count(*) FROM rejects),
        count(*) FROM catalogue WHERE reason IS NULL"""
    ).fetchall()
    check_any_parsed(connection, files, layout, counts[0], "quarantined")
    newest = f"""SELECT {", ".join(_WANTED)} FROM catalogue WHERE reason IS NULL
        QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY {_OLDEST} DESC, rowid DESC) = 1"""
    items = write_parquet(connection, newest, folder / "items", {})
    names = texts([file.name for file in files])
    quarantine = write_parquet(
        connection,
        f"SELECT raw, {names}[file + 1] AS source, line, reason FROM quarantined",
        folder / "quarantine",
        {"day": day.isoformat(), "run": f"{ITEMS_RUN}{digest[:16]}"},
    )
    reasons = connection.execute(
        "SELECT reason, count(*) FROM quarantined GROUP BY reason ORDER BY count(*) DESC, reason"
    )
    if counts[0] != counts[1] + quarantine.rows:
        raise LakeError(
            f"{files[0].path}: {counts[0]:,} rows were read, but {counts[1]:,} are good and "
            f"{quarantine.rows:,} quarantined. Nothing was published; keep the file, report this."
        )
    return StagedItems(
        folder=folder,
        day=day.isoformat(),
        digest=digest,
        items=items,
        quarantine=quarantine,
        rows_read=counts[0],
        duplicates=counts[1] - items.rows,
        quarantine_reasons=dict(reasons.fetchall()),
    )


def _typed(select: str, layout: Layout) -> str:
    """SQL: the catalogue's text columns typed, with `reason` where an item is refused."""
    plain = ("item_id", "title", "text", "category", "attributes", "image_uri")
    values = {column: f"NULLIF(trim({column}), '') AS {column}" for column in plain}
    if layout.format == "mind":
        values["attributes"] = (
            "CASE WHEN subcategory <> '' THEN json_object('subcategory', subcategory)::VARCHAR END "
            "AS attributes"
        )
        values["image_uri"] = "NULL::VARCHAR AS image_uri"
    times = ("published_at", "updated_at")
    for column in times:
        known = layout.format != "mind"
        values[column] = (
            f"NULLIF({column}, '') AS {column}_text, {time_sql(column)} AS {column}"
            if known
            else f"NULL::VARCHAR AS {column}_text, NULL::TIMESTAMPTZ AS {column}"
        )
    reasons = [
        *id_reasons(["item_id"]),
        ("title IS NULL", "title is missing"),
        *((f"{c}_text IS NOT NULL AND {c} IS NULL", f"{c} cannot be read") for c in times),
    ]
    return f"""
        SELECT * EXCLUDE (published_at_text, updated_at_text), {reason_sql(reasons)} AS reason
        FROM (SELECT file, {", ".join(values.values())} FROM ({select}))"""


def _merge(lake: Lake, staged: StagedItems, memory_gib: float, threads: int | None) -> bool:
    table = lake.open_or_create("items", SCHEMAS["items"], PARTITIONS["items"])
    key = f"items/{staged.digest}"
    if table.transaction_version(key) is not None:
        return False
    root = staged.folder / "items"
    brought = f"read_parquet({text(str(root / staged.items.path))})"
    spill = staged.folder / "spill"
    with engine(spill, memory_gib=memory_gib, threads=threads, time_zone="UTC") as connection:
        ids = connection.sql(f"SELECT item_id FROM {brought}").to_arrow_table()["item_id"]
        with reaching(table.table_uri, "read"):
            stale, present = _rewritten(table, ids.combine_chunks())
            connection.register("present", present)
            added = _merged_files(connection, brought, root)
    shutil.rmtree(spill)
    place_files(table, root, added)
    commit(
        table,
        added,
        stale,
        # Two merges at once may rewrite different files: the shared transaction lets one of them
        # begin again, so that an item which both bring is there once.
        transactions={key: 1, MERGES: (table.transaction_version(MERGES) or 0) + 1},
        metadata={"day": staged.day, "items": staged.items.rows, "rows_read": staged.rows_read},
    )
    return True


def _rewritten(table: "DeltaTable", brought: "pa.Array") -> "tuple[list[dict], Dataset]":
    """The files with an item that comes again, those with room for more, and the rows of them all."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    rows = rows_of(table)
    parts = {part.path: part for part in rows.get_fragments()}

    def is_rewritten(file: Mapping[str, Any]) -> bool:
        if file["num_records"] < FILE_ITEMS / 2:
            return True
        known = parts[file["path"]].to_table(schema=rows.schema, columns=["item_id"])["item_id"]
        return bool(pc.any(pc.is_in(known, value_set=brought)).as_py())

    stale = [file for file in live_files(table) if is_rewritten(file)]
    chosen = [parts[file["path"]] for file in stale]
    return stale, ds.FileSystemDataset(chosen, rows.schema, rows.format, rows.filesystem)


def _merged_files(
    connection: "duckdb.DuckDBPyConnection", brought: str, root: Path
) -> list[StagedFile]:
    """What was brought and the rows of `present` after the merge, oldest items first."""
    columns = ", ".join(_WANTED)
    # A tie goes to what was brought: the catalogue that comes later.
    connection.execute(f"""
    CREATE TEMP TABLE merged AS SELECT {columns} FROM (
        SELECT {columns}, true AS brought FROM {brought}
        UNION ALL SELECT {columns}, false FROM present)
    QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY {_OLDEST} DESC, brought DESC) = 1
    ORDER BY COALESCE(published_at, updated_at) NULLS FIRST, item_id""")
    ((num_items,),) = connection.execute("SELECT count(*) FROM merged").fetchall()
    return [
        write_parquet(
            connection,
            f"FROM merged WHERE rowid >= {first} AND rowid < {first + FILE_ITEMS}",
            root,
            {},
        )
        for first in range(0, num_items, FILE_ITEMS)
    ]


def _publish_quarantine(lake: Lake, staged: StagedItems) -> None:
    if not staged.quarantine.rows:
        return
    table = lake.open_or_create("quarantine", SCHEMAS["quarantine"], PARTITIONS["quarantine"])
    key = f"items/{staged.digest}"
    if table.transaction_version(key) is None:
        root = staged.folder / "quarantine"
        place_files(table, root, [staged.quarantine])
        commit(table, [staged.quarantine], [], transactions={key: 1}, metadata={"day": staged.day})


def _read_manifest(folder: Path) -> StagedItems | None:
    body = read_json(folder / _MANIFEST)
    if body is None:
        return None
    for name in ("items", "quarantine"):
        body[name] = StagedFile(**body[name])
        if not files_complete(folder / name, [body[name]]):
            return None
    return StagedItems(**body | {"folder": folder})
