"""Staged rows as narrow pandas frames: one validation step holds only the columns it judges.

A frame's index is the row's position in the staged files, so a failed row can be found again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.interactions.schema import INTERACTIONS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds

LOCAL_DATE = "date of event_time"
ITEM_KNOWN = "item is in the catalogue"


@dataclass(frozen=True)
class Frame:
    """Which columns a step reads, and what it makes of them; steps with equal names share it."""

    name: str
    columns: tuple[str, ...]
    derive: Callable[[pa.Table], pa.Table] = lambda rows: rows


def staged_rows(files: Sequence[Path]) -> "ds.Dataset":
    """The staged Parquet files as one table that nothing of has been read yet, in their order."""
    import pyarrow.dataset as ds

    schema = pa.schema([field.with_nullable(True) for field in INTERACTIONS])
    # Staging writes the days into the folders' names (event_date=2019-11-09), not into the files.
    days = pa.schema([schema.field("event_date"), schema.field("source_day")])
    return ds.dataset(
        [str(file) for file in files],
        schema=schema,
        format="parquet",
        partitioning=ds.partitioning(days, flavor="hive"),
    )


def count_rows(staged: "ds.Dataset", day: date) -> int:
    """How many staged rows are of `day` itself."""
    return staged.count_rows(filter=pc.field("event_date") == day)


def as_pandas(rows: pa.Table) -> "pd.DataFrame":
    """Columns with their narrowest pandas types; memory is handed over, not doubled."""
    import pandas as pd

    exact = {pa.int32(): pd.Int32Dtype(), pa.int8(): pd.Int8Dtype(), pa.bool_(): pd.BooleanDtype()}
    return rows.to_pandas(
        types_mapper=exact.get, date_as_object=False, split_blocks=True, self_destruct=True
    )


def table_shape() -> Frame:
    """No rows, all columns: for rules about the table's own columns."""
    return Frame("shape", tuple(INTERACTIONS.names), lambda rows: rows.slice(0, 0))


def plain(columns: tuple[str, ...]) -> Frame:
    """The columns as they are."""
    return Frame("+".join(columns), columns)


def coded(column: str) -> Frame:
    """Equal strings as equal integers: exact, and ten times cheaper to compare than text."""

    def encode(rows: pa.Table) -> pa.Table:
        codes = rows[column].dictionary_encode()
        chunks = [chunk.indices for chunk in codes.chunks]
        return pa.table({column: pa.chunked_array(chunks, type=pa.int32())})

    return Frame(f"{column} coded", (column,), encode)


def of_the_day(column: str, day: date) -> Frame:
    """The column, without rows that belong to other days."""

    def select(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.equal(rows["event_date"], day)).select([column])

    return Frame(f"{column} of {day}", (column, "event_date"), select)


def days_apart(time_zone: str) -> Frame:
    """The row's day beside the date of its time in `time_zone`, both as day numbers."""

    def derive(rows: pa.Table) -> pa.Table:
        local = pc.local_timestamp(rows["event_time"].cast(pa.timestamp("us", time_zone)))
        local_date = pc.floor_temporal(local, unit="day").cast(pa.date32())
        return pa.table(
            {
                "event_date": rows["event_date"].cast(pa.int32()),
                LOCAL_DATE: local_date.cast(pa.int32()),
            }
        )

    return Frame("days", ("event_date", "event_time"), derive)


def against_catalogue(known_items: pa.Array | pa.ChunkedArray) -> Frame:
    """Item ids, and whether the catalogue knows each; nothing is said of a missing id."""

    def derive(rows: pa.Table) -> pa.Table:
        ids = rows["item_id"]
        known = pc.is_in(ids, value_set=known_items.cast(pa.string()))
        return pa.table({ITEM_KNOWN: pc.if_else(ids.is_valid(), known, None)})

    return Frame("item_id against the catalogue", ("item_id",), derive)


def rows_at(
    staged: "ds.Dataset", positions: Sequence[int], columns: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The staged rows at `positions`, in that order, as what a reader needs to find them.

    Only the row groups that hold them are looked at.
    """
    wanted = tuple(dict.fromkeys(["event_id", "source", *columns]))
    found = staged.take(pa.array(positions, pa.int64()), columns=list(wanted)).to_pylist()
    return [
        {"event_id": row["event_id"], "source": row["source"], "value": _value(row, columns)}
        for row in found
    ]


def _value(row: dict[str, Any], columns: tuple[str, ...]) -> str | None:
    if len(columns) == 1:
        value = row[columns[0]]
        return None if value is None else str(value)
    return ", ".join(f"{column} {row[column]}" for column in columns)
