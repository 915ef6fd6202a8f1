"""What other source days have published into a day's partitions: late rows that come again."""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.interactions.commit import live_actions
from tasks.interactions.lake import Lake, reaching, rows_of

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Neighbours:
    """The files of other source days than `day`, in one snapshot of the table."""

    table: "DeltaTable | None"
    day: date
    files: pa.Table | None
    """Their add actions; None where the table does not exist."""

    @classmethod
    def of(cls, lake: Lake, day: date) -> "Neighbours":
        """Those in the newest snapshot."""
        table = lake.open("interactions")
        if table is None:
            return cls(None, day, None)
        files = live_actions(table)
        return cls(table, day, files.filter(pc.not_equal(files["partition.source_day"], day)))

    @classmethod
    def none(cls, day: date) -> "Neighbours":
        """No one: for a day that is read ahead of the days before it, and compared later."""
        return cls(None, day, None)

    def paths(self, event_days: Collection[date]) -> tuple[str, ...]:
        """The files of these event days: while they stay, so does what `drop_known` finds."""
        return tuple(sorted(path for day in event_days for path in self._of_day("path", day)))

    def drop_known(
        self, connection: "duckdb.DuckDBPyConnection", event_days: Collection[date], good: str
    ) -> None:
        """Add to `doubled` the rows of `events` that other source days have published."""
        for event_day in event_days:
            ours = f"FROM events WHERE {good} AND event_date = DATE '{event_day}'"
            if self.find_known(connection, event_day, ours):
                connection.execute(
                    f"""INSERT INTO doubled SELECT rowid {ours}
                    AND event_id IN (SELECT event_id FROM met)
                    AND rowid NOT IN (SELECT again FROM doubled)"""
                )

    def find_known(
        self, connection: "duckdb.DuckDBPyConnection", event_day: date, ours: str
    ) -> bool:
        """Make the table `met`: events of `ours` that other source days have published.

        Args:
            connection: where `ours` can be read.
            event_day: whose rows both are.
            ours: SQL from FROM onwards.

        Returns:
            False where they have published nothing of that day, and no table was made.
        """
        import pyarrow.dataset as ds

        known = sum(self._of_day("num_records", event_day))
        if not known:
            return False
        assert self.table is not None
        others = (ds.field("event_date") == event_day) & (ds.field("source_day") != self.day)
        of_day = f"event_date = '{event_day}'"
        connection.register("known", rows_of(self.table, of_day).filter(others))
        ((mine,),) = connection.execute(f"SELECT count(*) {ours}").fetchall()
        # The smaller side is held in memory: a few late rows, theirs or ours.
        met = "" if known <= mine else f"WHERE event_id IN (SELECT event_id {ours})"
        with reaching(self.table.table_uri, "read"):
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE met AS SELECT DISTINCT event_id FROM known {met}"
            )
        connection.unregister("known")
        return True

    def _of_day(self, fact: str, event_day: date) -> list[Any]:
        """One fact of each file of `event_day`; of all the table's files only these are looked at."""
        if self.files is None:
            return []
        of_day = pc.equal(self.files["partition.event_date"], event_day)
        return self.files[fact].filter(of_day).to_pylist()
