"""Refused rows of a file of many days that belong to none of them: each is quarantined once.

Whichever day is published first takes them. A day that reads the file when it has grown takes those
that no other day has, and a day that is published anew keeps its own.
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.interactions.lake import rows_of
from tasks.interactions.staged import StagedDay, StagedFile

if TYPE_CHECKING:
    from deltalake import DeltaTable

_SAME = ("source", "line", "raw")
"""Columns that tell one refused row: a corrected line in its place is another."""


@dataclass(frozen=True)
class Homeless:
    """The rows that a day takes."""

    files: tuple[StagedFile, ...]
    reasons: Mapping[str, int]

    @property
    def rows(self) -> int:
        """How many they are."""
        return sum(self.reasons.values())


def not_taken(table: "DeltaTable | None", staged: StagedDay) -> Homeless:
    """The homeless rows of `staged` that no other day has quarantined in `table`."""
    if table is None or not staged.homeless:
        return Homeless(staged.homeless, staged.homeless_reasons)
    rows = staged.read_homeless()
    taken = _of_other_days(table, staged, rows)
    keys = {tuple(row.values()) for row in taken.to_pylist()}
    left = [tuple(row.values()) not in keys for row in rows.select(_SAME).to_pylist()]
    if all(left):
        return Homeless(staged.homeless, staged.homeless_reasons)
    remaining = rows.filter(pa.array(left))
    reasons = dict(Counter(remaining["reason"].to_pylist()).most_common())
    return Homeless((_written(staged, remaining),) if any(left) else (), reasons)


def _of_other_days(table: "DeltaTable", staged: StagedDay, rows: pa.Table) -> pa.Table:
    import pyarrow.dataset as ds

    sources = rows["source"].unique()
    others = (ds.field("day") != staged.day) & ds.field("source").isin(sources)
    return rows_of(table).to_table(columns=list(_SAME), filter=others)


def _written(staged: StagedDay, rows: pa.Table) -> StagedFile:
    import pyarrow.parquet as pq

    partition = staged.homeless[0].partition
    folder = "/".join(f"{column}={value}" for column, value in partition.items())
    path = f"{folder}/{uuid.uuid4()}.parquet"
    place = staged.folder / "quarantine" / path
    pq.write_table(rows.drop_columns(list(partition)), place)
    stats = json.dumps({"numRecords": rows.num_rows})
    return StagedFile(path, dict(partition), rows.num_rows, place.stat().st_size, stats)
