"""What other source days have published into a day's partitions: late rows that come again."""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from tasks.interactions.commit import live_files
from tasks.interactions.lake import Lake, rows_of
from tasks.interactions.source import digest_of

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Neighbours:
    """The files of other source days than `day`, in one snapshot of the table."""

    table: "DeltaTable | None"
    day: date
    rows: dict[tuple[date, str], int]
    """Event day and path to the number of rows."""

    @classmethod
    def of(cls, lake: Lake, day: date) -> "Neighbours":
        """Those in the newest snapshot."""
        table = lake.open("interactions")
        files = [] if table is None else live_files(table)
        rows = {
            (file["partition.event_date"], file["path"]): file["num_records"]
            for file in files
            if file["partition.source_day"] != day
        }
        return cls(table, day, rows)

    def digest(self, event_days: Collection[date]) -> str:
        """Of the files of these event days: while it stays, so does what `drop_known` finds."""
        return digest_of(sorted(path for day, path in self.rows if day in event_days))

    def drop_known(
        self, connection: "duckdb.DuckDBPyConnection", event_days: Collection[date], good: str
    ) -> None:
        """Add to `doubled` the rows of `events` that other source days have published."""
        for event_day in event_days:
            known = sum(rows for (day, _), rows in self.rows.items() if day == event_day)
            if known:
                self._drop_known_of(connection, event_day, known, good)

    def _drop_known_of(
        self, connection: "duckdb.DuckDBPyConnection", event_day: date, known: int, good: str
    ) -> None:
        import pyarrow.dataset as ds

        assert self.table is not None
        others = (ds.field("event_date") == event_day) & (ds.field("source_day") != self.day)
        connection.register("known", rows_of(self.table).filter(others))
        ours = f"FROM events WHERE {good} AND event_date = DATE '{event_day}'"
        ((mine,),) = connection.execute(f"SELECT count(*) {ours}").fetchall()
        # The smaller side is held in memory: a few late rows, theirs or ours.
        met = "" if known <= mine else f"WHERE event_id IN (SELECT event_id {ours})"
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE met AS SELECT DISTINCT event_id FROM known {met}"
        )
        connection.unregister("known")
        connection.execute(
            f"""INSERT INTO doubled SELECT rowid {ours}
            AND event_id IN (SELECT event_id FROM met)
            AND rowid NOT IN (SELECT again FROM doubled)"""
        )
