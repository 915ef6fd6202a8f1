"""Parts of the impressions that a mean hides: new users, cold items, each large category.

Shapes: N rows.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.recommender.context import Context
from tasks.recommender.slates import Slates, group_rows
from tasks.recommender.statistics import counts_of

MAX_CATEGORIES = 5
"""The categories with most clicks: more would fill a card, and hold too few impressions each."""

Bools = NDArray[np.bool_]


def slices_of(rows: pa.Table, context: Context) -> dict[str, Bools]:
    """(N,) membership of each row in each slice, by what was known before its impression.

    A new user has no history; a cold item was shown in no completed hour that the statistics
    count. Slices may overlap; an empty one is left out.

    Raises:
        ModelError: a column that scoring needs is missing.
    """
    slates = group_rows(rows, context.clicks)
    is_new = np.all(slates.history < 0, axis=1)[slates.slate]
    first_shown = counts_of(context.item_hours, slates.items).first_hours()
    is_cold = first_shown[slates.candidate] >= slates.hour
    found = {
        "new users": is_new,
        "returning users": ~is_new,
        "cold items": is_cold,
        "warm items": ~is_cold,
        **_categories(slates, context.catalogue),
    }
    return {name: _as_rows(member, slates) for name, member in found.items() if member.any()}


def _categories(slates: Slates, catalogue: pa.Table) -> dict[str, Bools]:
    """The categories with most clicked rows, most first."""
    by_item = catalogue["category"].take(pc.index_in(slates.items, catalogue["item_id"]))
    category = by_item.take(pa.array(slates.candidate)).combine_chunks()
    clicked = category.filter(pa.array(slates.label > 0)).drop_null().value_counts()
    counted = [(-each["counts"].as_py(), each["values"].as_py()) for each in clicked]
    return {
        f"category {name}": pc.fill_null(pc.equal(category, name), False).to_numpy(
            zero_copy_only=False
        )
        for _, name in sorted(counted)[:MAX_CATEGORIES]
    }


def _as_rows(member: Bools, slates: Slates) -> Bools:
    """The membership in the order of the table's rows."""
    found = np.empty(len(member), np.bool_)
    found[slates.order] = member
    return found
