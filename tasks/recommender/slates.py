"""Rows of the lake as the arrays that the ranker computes on.

Shapes: N rows, S slates (impressions), H history length, I distinct items.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.interactions.schema import HISTORY
from tasks.recommender.history import gather_histories
from tasks.recommender.statistics import Floats, Ints, hour_of

NEEDED = ("event_time", "impression_id", "user_id", "item_id")


@dataclass(frozen=True)
class Slates:
    """Candidates grouped by slate, and each slate's history."""

    order: Ints
    """(N,) the row of the table that each candidate here came from."""
    items: pa.Array
    """(I,) distinct item ids of candidates and histories."""
    candidate: Ints
    """(N,) number of the candidate's item; rows of one slate follow each other."""
    slate: Ints
    """(N,) number of the candidate's slate, ascending."""
    hour: Ints
    """(N,) the hour the row lies in, in hours since 1970."""
    label: Floats
    """(N,) 1 for a click; zeros where the table has no labels."""
    history: Ints
    """(S, H) numbers of the items seen before, newest first; −1 fills up."""
    liked: NDArray[np.bool_]
    """(S, H) whether the entry was clicked or liked; False also where there is none."""

    @property
    def sizes(self) -> Ints:
        """(S,) candidates in each slate."""
        return np.bincount(self.slate, minlength=len(self.history))

    @property
    def starts(self) -> Ints:
        """(S,) place of each slate's first candidate."""
        return np.cumsum(self.sizes) - self.sizes

    def renumbered(self, number: Ints) -> "Slates":
        """The same slates with `number[i]` in the place of item i."""
        history = np.where(self.history >= 0, number[np.maximum(self.history, 0)], -1)
        return replace(self, candidate=number[self.candidate], history=history)

    def split(self, slates: int, rows: int) -> tuple["Slates", "Slates"]:
        """The first `slates` slates, which are the table's first `rows` rows, and the others."""
        head, tail = slice(rows), slice(rows, None)
        return (
            self._part(head, self.order[head], self.slate[head], slice(slates)),
            self._part(
                tail, self.order[tail] - rows, self.slate[tail] - slates, slice(slates, None)
            ),
        )

    def _part(self, rows: slice, order: Ints, slate: Ints, slates: slice) -> "Slates":
        return Slates(
            order,
            self.items,
            self.candidate[rows],
            slate,
            self.hour[rows],
            self.label[rows],
            self.history[slates],
            self.liked[slates],
        )


def group_rows(rows: pa.Table, clicks: pa.Table | None) -> Slates:
    """Group `rows` by impression and attach what each user had seen before.

    Raises:
        ModelError: a column that scoring needs is missing.
    """
    require_columns(rows)
    if "history" not in rows.column_names:
        rows = rows.append_column("history", pa.nulls(len(rows), HISTORY))
    slate = pc.dictionary_encode(rows["impression_id"]).combine_chunks().indices.to_numpy()
    order = np.argsort(slate, kind="stable")
    slate = slate[order].astype(np.int64)
    first = order[np.flatnonzero(np.diff(slate, prepend=-1))]
    hour = hour_of(rows["event_time"])
    entries = gather_histories(
        rows.select(["user_id", "event_time", "history"]).take(pa.array(first)), clicks
    )
    items = pa.concat_arrays([rows["item_id"].combine_chunks(), entries.item]).unique()
    depth = int(entries.place.max()) + 1 if len(entries.place) else 1
    history = np.full((len(first), depth), -1)
    history[entries.slate, entries.place] = pc.index_in(entries.item, items).to_numpy()
    liked = np.zeros(history.shape, np.bool_)
    liked[entries.slate, entries.place] = entries.liked
    return Slates(
        order=order,
        items=items,
        candidate=pc.index_in(rows["item_id"], items).to_numpy().astype(np.int64)[order],
        slate=slate,
        # One impression is one moment: its first row's.
        hour=hour[first][slate],
        label=_labels(rows)[order],
        history=history,
        liked=liked,
    )


def require_columns(rows: pa.Table) -> None:
    """Raise ModelError if a column that scoring needs is missing."""
    missing = [name for name in NEEDED if name not in rows.column_names]
    if missing:
        raise ModelError(
            f"The rows have no column {', '.join(missing)}, which scoring needs. "
            "Read them from the interactions table."
        )


def whole_slates(impression_ids: pa.ChunkedArray, rows_at_once: int) -> list[NDArray[np.int64]]:
    """Row numbers, in parts of about `rows_at_once` that never cut an impression."""
    slate = pc.dictionary_encode(impression_ids).combine_chunks().indices.to_numpy()
    order = np.argsort(slate, kind="stable")
    part = (np.cumsum(np.bincount(slate)) - 1) // rows_at_once
    return np.split(order, np.flatnonzero(np.diff(part[slate[order]])) + 1)


def _labels(rows: pa.Table) -> Floats:
    if "label" not in rows.column_names:
        return np.zeros(len(rows))
    return rows["label"].to_numpy().astype(np.float64)
