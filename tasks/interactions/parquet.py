"""Writing a query's rows as one Parquet file with its Delta statistics."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.interactions.engine import text
from tasks.interactions.staged import StagedFile

if TYPE_CHECKING:
    import duckdb
    from pyarrow.parquet import FileMetaData

# Ids rarely repeat often enough in a row group to be worth a large dictionary.
_OPTIONS = "FORMAT parquet, PARQUET_VERSION v2, DICTIONARY_SIZE_LIMIT 5000"


def write_parquet(
    connection: "duckdb.DuckDBPyConnection",
    query: str,
    root: Path,
    partition: Mapping[str, str],
    ranged: str | None = None,
) -> StagedFile:
    """Write the rows of `query` below `root` in their partition's folder.

    Args:
        connection: where the query's tables are.
        query: its columns are the file's; the partition's columns are not among them.
        root: stands for the table's root.
        partition: values of the table's partition columns.
        ranged: a UTC time column whose range readers may use to skip the file.
    """
    import pyarrow.parquet as pq

    # A name is used once for ever: readers of an old version may still hold a file.
    relative = "/".join([*(f"{k}={v}" for k, v in partition.items()), f"{uuid.uuid4()}.parquet"])
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY ({query}) TO {text(str(path))} ({_OPTIONS})")
    footer = pq.read_metadata(path)
    stats: dict[str, object] = {"numRecords": footer.num_rows}
    if ranged and footer.num_rows:
        stats |= _range_of(footer, ranged)
    return StagedFile(
        relative, dict(partition), footer.num_rows, path.stat().st_size, json.dumps(stats)
    )


def _range_of(footer: "FileMetaData", column: str) -> dict[str, object]:
    at = footer.schema.names.index(column)
    groups = [footer.row_group(i).column(at).statistics for i in range(footer.num_row_groups)]
    first, last = min(g.min for g in groups), max(g.max for g in groups)
    # Delta keeps milliseconds: the range is widened to whole ones.
    return {
        "minValues": {column: _milliseconds(first)},
        "maxValues": {column: _milliseconds(last + timedelta(milliseconds=1))},
        "nullCount": {column: 0},
    }


def _milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
