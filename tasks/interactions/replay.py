"""The lake as a replay of another policy sees it: the stored days to read, tables of its own to write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import LakeError
from tasks.interactions.lake import Lake

if TYPE_CHECKING:
    from deltalake import DeltaTable

STORED = ("interactions", "items", "item_hours", "quarantine")
"""Tables of the real history; a replay publishes nothing."""


@dataclass(frozen=True)
class ReplayLake(Lake):
    """Tables below `root` that are the replay's own, beside those of the history below `stored`."""

    stored: str

    def uri(self, table: str) -> str:
        """Where `table` lies."""
        return f"{self.stored.rstrip('/')}/{table}" if table in STORED else super().uri(table)

    def open_or_create(
        self, table: str, schema: pa.Schema, partition_by: Sequence[str]
    ) -> "DeltaTable":
        """A table of the replay's own, about to be written; created empty where it does not exist."""
        if table in STORED:
            raise LakeError(
                f"{self.uri(table)} belongs to the real history, and a replay only reads it. "
                "Nothing was written; report this."
            )
        return super().open_or_create(table, schema, partition_by)
