"""Committing finished Parquet files to a Delta table: no row is written twice.

The files are linked (or sent, to an object store) below the table's root, where nobody sees them
until one commit adds them, takes away those they replace, and notes what was published.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.interactions.lake import local_folder
from tasks.interactions.staged import StagedFile

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

_CHUNK_BYTES = 8 << 20


def place_files(table: "DeltaTable", root: Path, files: Sequence[StagedFile]) -> None:
    """Put the files below the table's root; a repeat puts nothing twice."""
    folder = local_folder(table)
    if folder is None:
        send_files(table.table_uri, root, files)
        return
    for file in files:
        target = folder / file.path
        if target.exists() and target.stat().st_size == file.bytes:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{uuid.uuid4()}")
        try:
            os.link(root / file.path, partial)
        except OSError:  # another file system, or one without links
            shutil.copyfile(root / file.path, partial)
        partial.replace(target)


def send_files(uri: str, root: Path, files: Sequence[StagedFile]) -> None:
    """Write the files below an object store's URL, in chunks."""
    import pyarrow.fs as pafs

    store, base = pafs.FileSystem.from_uri(uri)
    for file in files:
        target = f"{base.rstrip('/')}/{file.path}"
        store.create_dir(target.rsplit("/", 1)[0])
        with (root / file.path).open("rb") as here, store.open_output_stream(target) as there:
            shutil.copyfileobj(here, there, _CHUNK_BYTES)


def live_actions(table: "DeltaTable") -> "pa.Table":
    """The table's present files as Delta's add actions, a row each; partition values are typed."""
    import pyarrow as pa

    return pa.table(table.get_add_actions(flatten=True))


def live_files(
    table: "DeltaTable", column: str | None = None, value: object = None
) -> list[dict[str, Any]]:
    """The add actions of all present files, or of those of one partition value."""
    import pyarrow.compute as pc

    actions = live_actions(table)
    if column is not None:
        # A year's table has a thousand files: only those asked for become Python objects.
        actions = actions.filter(pc.equal(actions[f"partition.{column}"], value))
    return actions.to_pylist()


def commit(
    table: "DeltaTable",
    added: Sequence[StagedFile],
    removed: Sequence[Mapping[str, object]],
    *,
    transactions: Mapping[str, int],
    metadata: Mapping[str, object],
) -> int:
    """Add and remove files in one commit.

    Args:
        table: the snapshot that the decision was made on.
        added: files that `place_files` has put there.
        removed: of `live_files`.
        transactions: application ids and the versions that this commit brings them to.
        metadata: kept in the commit, under the key `dayspring`.

    Returns:
        The table's version afterwards.

    Raises:
        deltalake.exceptions.CommitFailedError: another writer was first; look again and repeat.
    """
    from deltalake import CommitProperties, Transaction
    from deltalake.transaction import AddAction, RemoveAction

    now = int(time.time() * 1000)
    partition_by = list(table.metadata().partition_columns)
    adds = [
        AddAction(file.path, file.bytes, dict(file.partition), now, True, file.stats)
        for file in added
    ]
    removes = [
        RemoveAction(
            str(file["path"]),
            data_change=True,
            deletion_timestamp=now,
            size=file["size_bytes"],
            partition_values={
                column: None
                if file[f"partition.{column}"] is None
                else str(file[f"partition.{column}"])
                for column in partition_by
            },
        )
        for file in removed
    ]
    table.create_write_transaction(
        [*adds, *removes],
        mode="append",
        schema=table.schema(),
        partition_by=partition_by,
        commit_properties=CommitProperties(
            custom_metadata={"dayspring": json.dumps(metadata)},
            app_transactions=[Transaction(key, version) for key, version in transactions.items()],
        ),
    )
    table.update_incremental()
    return int(table.version())
