"""What a staged day is: Parquet files that wait to be published, and the manifest that closes them.

The manifest is written last, by one rename: a folder without it is half-written and worth nothing.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.interactions.schema import INTERACTIONS, QUARANTINE

_MANIFEST = "manifest.json"
_PARTITION_COLUMNS = ("event_date", "source_day", "day", "run")


@dataclass(frozen=True)
class StagedFile:
    """One Parquet file below the staging folder, and where it goes in its table."""

    path: str
    """Relative to the staging folder, and to the table's root."""
    partition: Mapping[str, str]
    rows: int
    bytes: int
    stats: str
    """The file's Delta statistics, as JSON."""


@dataclass(frozen=True)
class StagedDay:
    """One day's rows, typed, deduplicated and accounted for, but not yet public."""

    folder: Path
    day: date
    digest: str
    """Of the files and of how they are read: the name of the folder."""
    revision: str
    """Of what is published: equal revisions are the same rows, and are published once."""
    interactions: tuple[StagedFile, ...]
    quarantine: tuple[StagedFile, ...]
    homeless: tuple[StagedFile, ...]
    """Refused rows of a file of many days that belong to none of them."""
    rows_read: int
    published: int
    quarantined: int
    duplicates: int
    late: int
    quarantine_reasons: Mapping[str, int]
    homeless_reasons: Mapping[str, int]
    days: tuple[date, ...]
    """The event days that the good rows belong to, ascending, duplicates included."""
    neighbours: tuple[str, ...]
    """Files of these event days from other source days, that it was compared with."""

    def paths(self) -> list[Path]:
        """The Parquet files of the rows to publish; event_date is in their folders' names."""
        return [self.folder / "interactions" / file.path for file in self.interactions]

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows to publish, late ones included, with all or some of INTERACTIONS' columns."""
        return _read(self.folder / "interactions", self.paths(), INTERACTIONS, columns)

    def read_quarantine(self) -> pa.Table:
        """The refused rows, as QUARANTINE; those that belong to no day are not among them."""
        return self._read_refused(self.quarantine)

    def read_homeless(self) -> pa.Table:
        """The refused rows that belong to no day, as QUARANTINE."""
        return self._read_refused(self.homeless)

    def _read_refused(self, files: Sequence[StagedFile]) -> pa.Table:
        folder = self.folder / "quarantine"
        return _read(folder, [folder / file.path for file in files], QUARANTINE, None)

    def discard(self) -> None:
        """Remove the staging folder; publishing again would need staging again."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(
    folder: Path, paths: list[Path], schema: pa.Schema, columns: Sequence[str] | None
) -> pa.Table:
    import pyarrow.dataset as ds

    keys = pa.schema([field for field in schema if field.name in _PARTITION_COLUMNS])
    wanted = list(columns) if columns is not None else schema.names
    target = pa.schema([schema.field(column) for column in wanted])
    if not paths:
        return target.empty_table()
    rows = ds.dataset(
        [str(path) for path in paths],
        schema=pa.schema([field.with_nullable(True) for field in schema]),
        format="parquet",
        partitioning=ds.partitioning(keys, flavor="hive"),
        partition_base_dir=str(folder),
    )
    return rows.to_table(columns=wanted).cast(target)


def write_manifest(staged: StagedDay) -> None:
    """Close the staging folder: from here on it is complete."""
    body = asdict(replace(staged, folder=Path())) | {
        "day": staged.day.isoformat(),
        "days": [event_day.isoformat() for event_day in staged.days],
    }
    del body["folder"]
    write_json(staged.folder / _MANIFEST, body)


def read_manifest(folder: Path) -> StagedDay | None:
    """The complete staged day in `folder`; None where staging did not come to its end."""
    body = read_json(folder / _MANIFEST)
    if body is None:
        return None
    for table in ("interactions", "quarantine", "homeless"):
        body[table] = tuple(StagedFile(**file) for file in body[table])
        root = folder / ("interactions" if table == "interactions" else "quarantine")
        if not files_complete(root, body[table]):
            return None
    body["day"] = date.fromisoformat(body["day"])
    body["days"] = tuple(map(date.fromisoformat, body["days"]))
    body["neighbours"] = tuple(body["neighbours"])
    return StagedDay(**body | {"folder": folder})


def files_complete(root: Path, files: Sequence[StagedFile]) -> bool:
    """Whether every file is there in its full length."""
    paths = [root / file.path for file in files]
    return all(path.is_file() for path in paths) and all(
        path.stat().st_size == file.bytes for path, file in zip(paths, files, strict=True)
    )


def write_json(path: Path, body: Mapping[str, Any]) -> None:
    """Write a JSON document by one rename."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(body, indent=1))
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON document at `path`; None where there is none, or a damaged one."""
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError:
        return None
