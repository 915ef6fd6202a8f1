"""What each impression's user had seen before, newest first: as logged, else from past clicks.

Shapes: S slates, H history length.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.recommender.statistics import Ints, hour_of

MAX_HISTORY = 50
"""Older entries are not read: a reading session has about ten, and interests move."""


class Entries:
    """History entries of all slates, one row each."""

    def __init__(self, slate: Ints, place: Ints, item: pa.Array, liked: NDArray[np.bool_]) -> None:
        self.slate = slate
        self.place = place
        """0 is the newest entry of its slate."""
        self.item = item
        self.liked = liked


def gather_histories(first_rows: pa.Table, clicks: pa.Table | None) -> Entries:
    """The MAX_HISTORY newest entries of each slate.

    Args:
        first_rows: one row of each of the S slates: user_id, event_time, history.
        clicks: past clicks (user_id, item_id, event_time, label); label 0 is a dislike. Used for
            slates that log no history, and of them only completed hours before the slate's own.
    """
    history = first_rows["history"].combine_chunks()
    parts = [_logged(history)]
    if clicks is not None and len(clicks) and history.null_count:
        unlogged = pc.indices_nonzero(history.is_null()).to_numpy().astype(np.int64)
        parts.append(_derived(first_rows, unlogged, clicks))
    return Entries(
        np.concatenate([part.slate for part in parts]),
        np.concatenate([part.place for part in parts]),
        pa.concat_arrays([part.item for part in parts]),
        np.concatenate([part.liked for part in parts]),
    )


def _logged(history: pa.ListArray) -> Entries:
    lengths = pc.fill_null(pc.list_value_length(history), 0).to_numpy().astype(np.int64)
    flat = history.flatten()
    slate = np.repeat(np.arange(len(history)), lengths)
    place = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(flat))
    item, label = flat.field("item_id"), pc.fill_null(flat.field("label"), 1)
    kept = (place < MAX_HISTORY) & item.is_valid().to_numpy(zero_copy_only=False)
    liked = label.to_numpy(zero_copy_only=False)[kept] > 0
    return Entries(slate[kept], place[kept], item.filter(pa.array(kept)), liked)


def _derived(first_rows: pa.Table, slates: Ints, clicks: pa.Table) -> Entries:
    ordered = clicks.sort_by("event_time")
    users = first_rows["user_id"].combine_chunks().take(pa.array(slates))
    distinct = users.unique()
    number = pc.index_in(ordered["user_id"], distinct)
    ordered, number = ordered.filter(pc.is_valid(number)), number.drop_null()
    # One sorted key holds user and hour, so that two searches bound each slate's past clicks.
    key = (number.to_numpy().astype(np.int64) << 32) + hour_of(ordered["event_time"])
    order = np.argsort(key, kind="stable")
    user = pc.index_in(users, distinct).to_numpy().astype(np.int64) << 32
    hour = hour_of(first_rows["event_time"])[slates]
    start = np.searchsorted(key[order], user, side="left")
    stop = np.searchsorted(key[order], user + hour, side="left")
    place = np.broadcast_to(np.arange(MAX_HISTORY), (len(slates), MAX_HISTORY))
    row = stop[:, None] - 1 - place
    kept = row >= start[:, None]
    taken = ordered.take(pa.array(order[row[kept]]))
    return Entries(
        np.broadcast_to(slates[:, None], kept.shape)[kept],
        place[kept],
        taken["item_id"].combine_chunks(),
        taken["label"].to_numpy() > 0,
    )
