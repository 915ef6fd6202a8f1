"""Parts of the impressions that a mean hides: new users, cold items, the tail, each large category.

Shapes: N rows.
"""

import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.context import Context
from tasks.recommender.slates import Slates, group_rows
from tasks.recommender.statistics import Counts, counts_of, sweep

MIN_SHARE = 0.02
"""Share of the clicks below which a category is no slice: it would hold too few impressions."""
MAX_CATEGORIES = 20
"""The categories with most clicks: more would fill a card."""
HEAD_SHARE = 0.2
"""Share of the items, those shown most, that are the head."""
HALF_LIFE_HOURS = 24.0
"""After so long a showing counts half for the head: yesterday's hit is today's tail."""

Bools = NDArray[np.bool_]


def slices_of(rows: pa.Table, context: Context) -> dict[str, Bools]:
    """(N,) membership of each row in each slice, by what was known before its impression.

    A new user has no history; a cold item was shown in no completed hour that the statistics
    count; a head item is of the fifth that was shown most of late, a tail item is any other. Slices
    may overlap; an empty one is left out.

    Raises:
        ModelError: a column that scoring needs is missing.
    """
    slates = group_rows(rows, context.clicks)
    counts = counts_of(context.item_hours, slates.items)
    is_new, is_cold, is_head = _is_new(slates), _is_cold(slates, counts), _is_head(slates, counts)
    found = {
        "new users": is_new,
        "returning users": ~is_new,
        "cold items": is_cold,
        "warm items": ~is_cold,
        "head items": is_head,
        "tail items": ~is_head,
        **_categories(slates, context.catalogue),
    }
    return {name: _as_rows(member, slates) for name, member in found.items() if member.any()}


def groups_of(rows: pa.Table, context: Context, kinds: Iterable[str]) -> dict[str, Bools]:
    """(N,) membership of each row in each group of the `kinds`, as "kind value".

    Kinds are category, surface, age (cold or warm item), popularity (head or tail item), tenure (new or
    returning user) and context.KEY, a key of the log's context. A row without a value is in no group.

    Raises:
        ModelError: a kind is none of these, or a column that scoring needs is missing.
    """
    slates = group_rows(rows, context.clicks)
    counts = counts_of(context.item_hours, slates.items)
    found: dict[str, Bools] = {}
    for kind in kinds:
        values = _values(kind, rows, slates, counts, context.catalogue)
        for value in values.unique().drop_null().sort().to_pylist():
            found[f"{kind} {value}"] = _is(values, value)
    return {name: _as_rows(member, slates) for name, member in found.items()}


def _values(
    kind: str, rows: pa.Table, slates: Slates, counts: Counts, catalogue: pa.Table
) -> pa.Array:
    """(N,) the group of each candidate, in the order of `slates`."""
    if kind == "category":
        return _category(slates, catalogue)
    if kind == "surface":
        return _logged(rows, "surface", slates)
    if kind.startswith("context."):
        return _key(_logged(rows, "context", slates), kind.removeprefix("context."))
    if kind == "age":
        return _either(_is_cold(slates, counts), "cold", "warm")
    if kind == "popularity":
        return _either(_is_head(slates, counts), "head", "tail")
    if kind == "tenure":
        return _either(_is_new(slates), "new", "returning")
    raise ModelError(
        f"Rows cannot be grouped by {kind!r}. Choose category, surface, age, popularity, tenure or "
        "context.KEY."
    )


def _is_new(slates: Slates) -> Bools:
    return np.all(slates.history < 0, axis=1)[slates.slate]


def _is_cold(slates: Slates, counts: Counts) -> Bools:
    return counts.first_hours()[slates.candidate] >= slates.hour


def _is_head(slates: Slates, counts: Counts) -> Bools:
    """(N,) whether the item is of those shown most, of all items here that were shown before."""
    head = np.zeros(len(slates.candidate), np.bool_)
    for rows, state in sweep(counts, slates.hour, half_life_hours=HALF_LIFE_HOURS):
        shown = state[:, 0]
        if (before := shown[shown > 0]).size:
            head[rows] = shown[slates.candidate[rows]] >= np.quantile(before, 1 - HEAD_SHARE)
    return head


def _categories(slates: Slates, catalogue: pa.Table) -> dict[str, Bools]:
    """The categories with at least MIN_SHARE of the clicked rows, most first."""
    category = _category(slates, catalogue)
    clicked = category.filter(pa.array(slates.label > 0)).drop_null()
    counted = [(-each["counts"].as_py(), each["values"].as_py()) for each in clicked.value_counts()]
    least = MIN_SHARE * len(clicked)
    large = [name for count, name in sorted(counted)[:MAX_CATEGORIES] if -count >= least]
    return {f"category {name}": _is(category, name) for name in large}


def _category(slates: Slates, catalogue: pa.Table) -> pa.Array:
    by_item = catalogue["category"].take(pc.index_in(slates.items, catalogue["item_id"]))
    return _whole(by_item.take(pa.array(slates.candidate)))


def _logged(rows: pa.Table, column: str, slates: Slates) -> pa.Array:
    """(N,) a column of the log, null where it has none, in the order of `slates`."""
    if column not in rows.column_names:
        return pa.nulls(len(rows), pa.string())
    return _whole(rows[column].take(pa.array(slates.order)))


def _key(contexts: pa.Array, key: str) -> pa.Array:
    """The key's value in each context, which is a JSON object; each distinct one is read once."""
    encoded = contexts.dictionary_encode()
    found = [_field(text, key) for text in encoded.dictionary.to_pylist()]
    return pa.array(found, pa.string()).take(encoded.indices)


def _field(text: str, key: str) -> str | None:
    try:
        found = json.loads(text)
    except ValueError:  # a producer may log any text
        return None
    value = found.get(key) if isinstance(found, dict) else None
    return None if value is None else str(value)


def _either(member: Bools, yes: str, no: str) -> pa.Array:
    return pc.if_else(pa.array(member), yes, no)


def _is(values: pa.Array, value: str) -> Bools:
    return pc.fill_null(pc.equal(values, value), False).to_numpy(zero_copy_only=False)


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _as_rows(member: Bools, slates: Slates) -> Bools:
    """The membership in the order of the table's rows."""
    found = np.empty(len(member), np.bool_)
    found[slates.order] = member
    return found
