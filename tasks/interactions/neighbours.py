"""What other source days have published into a day's partitions: late rows that come again."""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from tasks.interactions.lake import Lake
from tasks.interactions.source import digest_of

if TYPE_CHECKING:
    import duckdb


def neighbour_digest(lake: Lake, event_days: Sequence[date], day: date) -> str:
    """Digest of the files of other source days in these partitions.

    While it stays, so does what `drop_known` finds.
    """
    return digest_of(sorted(_neighbours(lake, event_days, day)))


def _neighbours(lake: Lake, event_days: Sequence[date], day: date) -> dict[str, int]:
    """Paths and row counts of those files."""
    import pyarrow as pa

    table = lake.open("interactions")
    if table is None or not event_days:
        return {}
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return {
        action["path"]: action["num_records"]
        for action in actions
        if action["partition.event_date"] in event_days and action["partition.source_day"] != day
    }


def drop_known(
    connection: "duckdb.DuckDBPyConnection",
    lake: Lake,
    event_days: Sequence[date],
    day: date,
    good: str,
) -> str:
    """Add to `doubled` the rows of `events` that other source days have published.

    Returns:
        The digest of what was compared with.
    """
    import pyarrow.dataset as ds

    neighbours = _neighbours(lake, event_days, day)
    table = lake.open("interactions")
    if table is None or not neighbours:
        return digest_of([])
    for event_day in event_days:
        known = table.to_pyarrow_dataset().filter(
            (ds.field("event_date") == event_day) & (ds.field("source_day") != day)
        )
        ours = f"FROM events WHERE {good} AND event_date = DATE '{event_day}'"
        connection.register("known", known)
        # Whichever side is smaller is kept in memory: usually a handful of late rows.
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE met AS
            SELECT DISTINCT event_id FROM known WHERE event_id IN (SELECT event_id {ours})"""
        )
        connection.execute(
            f"""INSERT INTO doubled SELECT rowid {ours}
            AND event_id IN (SELECT event_id FROM met)
            AND rowid NOT IN (SELECT again FROM doubled)"""
        )
        connection.unregister("known")
    return digest_of(sorted(neighbours))
