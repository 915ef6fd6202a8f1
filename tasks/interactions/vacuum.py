"""Clearing a table of files that no state of it within reach needs."""

from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tasks.interactions.lake import Lake, local_folder, reaching, retrying

if TYPE_CHECKING:
    from deltalake import DeltaTable

RETENTION = "delta.deletedFileRetentionDuration"


def vacuum(
    lake: Lake, table: str, *, days: int, keep: Collection[int] = (), dry_run: bool = False
) -> int:
    """Delete the files of `table` that neither the last `days` nor the versions `keep` need.

    Call it while nobody publishes: a file that is placed but not yet committed looks forgotten.

    Args:
        days: every version that was current within so many days stays readable.
        keep: older versions that stay readable; those that there never were are passed over.
        dry_run: only count.

    Returns:
        How many files.
    """
    with reaching(lake.uri(table), "cleared"):
        return _vacuum(lake, table, days, keep, dry_run)


def _vacuum(lake: Lake, table: str, days: int, keep: Collection[int], dry_run: bool) -> int:
    opened = lake.open(table)
    if opened is None:
        return 0
    keep_versions = sorted({version for version in keep if 0 <= version <= opened.version()})
    span = f"interval {days} days"
    if not dry_run and opened.metadata().configuration.get(RETENTION) != span:
        # A checkpoint forgets deletions older than this, and what is forgotten is judged by the
        # file's own age: it would go too early.
        retrying(lambda: opened.alter.set_table_properties({RETENTION: span}))
        opened.update_incremental()

    def clear(only_look: bool) -> list[str]:
        return opened.vacuum(
            retention_hours=days * 24,
            dry_run=only_look,
            enforce_retention_duration=False,
            full=True,  # also what killed writers left, and what checkpoints have forgotten
            keep_versions=keep_versions,
        )

    found = _present(opened, clear(True))
    if found and not dry_run:
        clear(False)
    return len(found)


def _present(table: "DeltaTable", paths: list[str]) -> list[str]:
    """Those of `paths` that exist: the log tells of deleted files until a checkpoint forgets them."""
    import pyarrow.fs as pafs

    folder = local_folder(table)
    if folder is not None:
        return [path for path in paths if (folder / unquote(path)).exists()]
    store, base = pafs.FileSystem.from_uri(table.table_uri)
    infos = store.get_file_info([f"{base.rstrip('/')}/{unquote(path)}" for path in paths])
    kinds = [info.type is not pafs.FileType.NotFound for info in infos]
    return [path for path, there in zip(paths, kinds, strict=True) if there]
