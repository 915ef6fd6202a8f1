"""What a ranker may know beside the rows it scores: catalogue, statistics, past clicks.

All of it is read with the rows' own times in mind: the ranker uses only completed hours before each
impression, so handing it more than that does no harm.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.references import Published
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.context import Context

STATISTICS_DAYS = 14
"""Hourly counts older than this weigh less than 1/1000 at any half-life in use."""

CLICK_DAYS = 30
"""How far back a history is derived when the producer logged none."""

ROW_COLUMNS = ["event_time", "impression_id", "user_id", "item_id", "position", "label", "history"]


def day_rows(
    workspace: Workspace, published: Published, *, days: int = 1, also: Sequence[str] = ()
) -> pa.Table:
    """The rows of the `days` days that end with the published one, in time order.

    They are read at the version that the day was published with, so a repeat sees the same rows
    even if later days have brought late ones since.

    Args:
        also: columns beside those that every ranker reads.
    """
    first = published.day - timedelta(days=days - 1)
    rows = workspace.lake.read(
        "interactions",
        columns=[*ROW_COLUMNS, *also, "event_date"],
        days=(first, published.day),
        version=published.interactions,
    )
    rows = _told_apart_by_day(rows)
    # Files have no order; training and its seeds need one.
    keys = ("event_time", "impression_id", "item_id")
    return rows.sort_by([(key, "ascending") for key in keys])


def _told_apart_by_day(rows: pa.Table) -> pa.Table:
    """The rows with their day in the impression's id: a producer may number from 0 every day."""
    day = pc.cast(rows["event_date"], pa.string())
    place = rows.column_names.index("impression_id")
    named = pc.binary_join_element_wise(day, rows["impression_id"], "/")
    return rows.set_column(place, "impression_id", named)


def published_context(
    workspace: Workspace, rows: pa.Table, published: Published, *, days: int = 1
) -> "Context":
    """The context of `rows` from the `days` days that end with the published one."""
    first = published.day - timedelta(days=days - 1)
    versions = (published.interactions, published.items, published.item_hours)
    return scoring_context(workspace, rows, first, published.day, versions)


def scoring_context(
    workspace: Workspace,
    rows: pa.Table,
    first: date,
    last: date,
    versions: tuple[int | None, int | None, int | None] = (None, None, None),
) -> "Context":
    """The context of `rows` from `first` to `last`.

    Args:
        versions: of interactions, items and item_hours; None is the newest.
    """
    from tasks.recommender.context import Context

    interactions, items, item_hours = versions
    lake = workspace.lake
    counted = (first - timedelta(days=STATISTICS_DAYS), last)
    hours = lake.read("item_hours", days=counted, version=item_hours)
    clicks = None
    if rows["history"].null_count:
        clicks = _past_clicks(workspace, first, last, interactions)
    named = _named_items(rows, hours, clicks)
    return Context(
        catalogue=lake.lookup("items", "item_id", named, version=items),
        item_hours=hours,
        clicks=clicks,
        embeddings_folder=workspace.embeddings,
    )


def _named_items(rows: pa.Table, item_hours: pa.Table, clicks: pa.Table | None) -> pa.Array:
    """Ids of all items that the rows, their histories or the statistics name: not the catalogue's."""
    logged = pc.struct_field(pc.list_flatten(rows["history"]), "item_id")
    named = [rows["item_id"], logged, item_hours["item_id"]]
    named += [clicks["item_id"]] if clicks is not None else []
    chunks = [chunk for column in named for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.string()).unique().drop_null()


def _past_clicks(workspace: Workspace, first: date, last: date, version: int | None) -> pa.Table:
    past = workspace.lake.read(
        "interactions",
        columns=["user_id", "item_id", "event_time", "label"],
        days=(first - timedelta(days=CLICK_DAYS), last),
        version=version,
    )
    return past.filter(pc.equal(past["label"], 1))
