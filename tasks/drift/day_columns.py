"""A day's rows as numbers: what is counted of each column.

Shapes: N rows, M impressions, I items, K values.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.drift import context, mix, numbers, sketches
from tasks.drift.mix import Mix, Slates
from tasks.drift.numbers import Numbers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REQUIRED = ("event_time", "impression_id", "user_id", "item_id", "label")

OPTIONAL = {
    "position": pa.int32(),
    "surface": pa.string(),
    "dwell_seconds": pa.float64(),
    "history": pa.list_(pa.null()),
    "context": pa.string(),
}
"""Columns that a producer may not log: they may be null, or not there."""

COLUMNS = (*REQUIRED, *OPTIONAL)
"""Columns of INTERACTIONS that a profile is made of."""

UNKNOWN = "(none)"
"""Category of an item of which the catalogue says none."""

CONTEXT_IMPRESSIONS = 20_000
"""Impressions whose contexts are read; an even sample of more."""

_SMALL = 65_536
"""Whole numbers below it are told apart by a table."""

_TYPES = {
    "position": "number",
    "surface": "string",
    "dwell_seconds": "number",
    "history": "array",
    "context": "string",
}


@dataclass(frozen=True)
class DayColumns:
    """What every part of a profile starts from."""

    rows: pa.Table
    clicked: Floats
    """(N,) 1 where the row was clicked."""
    slates: Slates
    items: list[str]
    """(I,) distinct."""
    item_codes: Ints
    """(N,)"""
    users: list[str]
    """Distinct."""
    user_codes: Ints
    """(N,)"""


def read_columns(rows: pa.Table) -> DayColumns:
    """Number the ids of a day's rows; OPTIONAL columns that are not there are null."""
    for name, kind in OPTIONAL.items():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, kind))
        elif pa.types.is_null(rows.schema.field(name).type):
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, pa.nulls(rows.num_rows, kind))
    names = ("impression_id", "item_id", "user_id")
    with ThreadPoolExecutor(2) as pool:
        impressions, items, users = pool.map(
            sketches.count_distinct, [rows[name] for name in names]
        )
    sizes = np.bincount(impressions.codes, minlength=len(impressions.values))
    return DayColumns(
        rows,
        rows["label"].to_numpy().astype(np.float64),
        Slates(impressions.codes, sizes.astype(np.float64)),
        items.values.to_pylist(),
        items.codes,
        users.values.to_pylist(),
        users.codes,
    )


def listed_mixes(day: DayColumns, catalogue: pa.Table, time_zone: str) -> dict[str, Mix]:
    """category, surface, position and hour."""
    surface = sketches.count_distinct(day.rows["surface"])
    times = day.rows["event_time"].cast(pa.timestamp("us", time_zone))
    numbered = {
        "category": _categories(day, catalogue),
        "surface": (surface.values.to_pylist(), surface.codes),
        "position": _whole_numbers(day.rows["position"]),
        "hour": _whole_numbers(pc.hour(times)),
    }
    return {
        name: mix.count(values, codes, day.clicked, day.slates)
        for name, (values, codes) in numbered.items()
    }


def listed_numbers(day: DayColumns) -> dict[str, Numbers]:
    """candidates, history_length and dwell_seconds."""
    dwell = day.rows["dwell_seconds"].drop_null().to_numpy().astype(np.float64)
    lengths = pc.list_value_length(day.rows["history"]).combine_chunks()
    of_impression = lengths.take(pa.array(_first_rows(day.slates))).drop_null()
    return {
        "candidates": numbers.describe(day.slates.sizes, len(day.slates.sizes)),
        "history_length": numbers.describe(
            of_impression.to_numpy().astype(np.float64), min(len(of_impression), len(day.users))
        ),
        "dwell_seconds": numbers.describe(dwell, len(dwell)),
    }


@dataclass(frozen=True)
class ContextColumns:
    """What the contexts say, of an even sample of the impressions."""

    mixes: dict[str, Mix]
    numbers: dict[str, Numbers]
    types: dict[str, dict[str, int]]


def context_columns(day: DayColumns) -> ContextColumns:
    """A column for each field of the contexts."""
    if day.rows["context"].null_count == day.rows.num_rows:
        return ContextColumns({}, {}, {"context": {context.NULL: day.rows.num_rows}})
    chosen, slates = day.slates.every(-(-len(day.slates.sizes) // CONTEXT_IMPRESSIONS))
    contexts = day.rows["context"].take(pa.array(chosen))
    missing = contexts.null_count
    whole = {"string": len(contexts) - missing, context.NULL: missing}
    fields = context.read_fields(contexts)
    clicked = day.clicked[chosen]
    return ContextColumns(
        {
            field.name: mix.count(
                field.texts, field.codes, clicked, slates, capacity=context.FIELD_VALUES
            )
            for field in fields
        },
        {field.name: _context_numbers(field.numbers, slates) for field in fields},
        {**{field.name: field.types for field in fields}, "context": whole},
    )


def listed_types(day: DayColumns) -> dict[str, dict[str, int]]:
    """Rows by type, null among them, of OPTIONAL columns but the context."""
    nulls = {name: day.rows[name].null_count for name in OPTIONAL if name != "context"}
    return {
        name: {_TYPES[name]: day.rows.num_rows - missing, context.NULL: missing}
        for name, missing in nulls.items()
    }


def _context_numbers(values: Floats, slates: Slates) -> Numbers:
    there = np.isfinite(values)
    return numbers.describe(values[there], len(np.unique(slates.codes[there])))


def _first_rows(slates: Slates) -> Ints:
    """(M,) the first row of each impression."""
    first = np.zeros(len(slates.sizes), np.int64)
    first[slates.codes[::-1]] = np.arange(len(slates.codes))[::-1]
    return first


def _whole_numbers(column: pa.ChunkedArray) -> tuple[Sequence[str], Ints]:
    """Distinct values as text, and each row's; -1 is null."""
    if column.null_count == 0 and pc.min(column).as_py() >= 0 and pc.max(column).as_py() < _SMALL:
        numbers_seen = column.to_numpy().astype(np.int64)
        distinct = np.flatnonzero(np.bincount(numbers_seen))
        place = np.zeros(_SMALL, np.int64)
        place[distinct] = np.arange(len(distinct))
        return [str(value) for value in distinct.tolist()], place[numbers_seen]
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return [str(value) for value in encoded.dictionary.to_pylist()], codes


def _categories(day: DayColumns, catalogue: pa.Table) -> tuple[Sequence[str], Ints]:
    """Distinct categories, and each row's; what the catalogue does not say is UNKNOWN."""
    at = pc.index_in(pa.array(day.items, pa.string()), value_set=catalogue["item_id"])
    found = catalogue["category"].cast(pa.string()).combine_chunks().take(at).fill_null(UNKNOWN)
    encoded = found.dictionary_encode()
    of_item = encoded.indices.to_numpy().astype(np.int64)
    return encoded.dictionary.to_pylist(), of_item[day.item_codes]
