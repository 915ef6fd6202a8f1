"""Behaviour counts by item and hour, and what a row may know of them.

A row at time t reads counts of completed hours only: those that ended at or before the start of t's
own hour. So never the future, never the impression itself, never the running hour: a served model's
statistics are refreshed on the hour.

Older counts weigh less: with half-life τ an hour that ended a hours ago weighs 2^(−a/τ).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.interactions.schema import ITEM_HOURS

HOUR_US = 3_600_000_000
NEVER = np.iinfo(np.int64).max
"""First hour of an item that was never shown."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def count_item_hours(interactions: pa.Table) -> pa.Table:
    """ITEM_HOURS of `interactions` (event_time, event_date, item_id, label)."""
    hourly = pa.table(
        {
            "event_date": interactions["event_date"],
            "hour": pc.floor_temporal(interactions["event_time"], unit="hour"),
            "item_id": interactions["item_id"],
            "label": pc.cast(interactions["label"], pa.int64()),
        }
    )
    keys = ["event_date", "hour", "item_id"]
    counted = hourly.group_by(keys).aggregate([("label", "count"), ("label", "sum")])
    counted = counted.rename_columns([*keys, "impressions", "clicks"])
    return (
        counted.select(ITEM_HOURS.names).cast(ITEM_HOURS).sort_by([(k, "ascending") for k in keys])
    )


def hour_of(times: pa.ChunkedArray | pa.Array) -> Ints:
    """(N,) the hour that holds each time, in hours since 1970."""
    micros = pc.cast(pc.cast(times, pa.timestamp("us", tz="UTC")), pa.int64())
    return micros.to_numpy() // HOUR_US


@dataclass(frozen=True)
class Counts:
    """Hourly counts of numbered items (or categories, or anything that has a number)."""

    item: Ints
    """(E,) number of the entry's item."""
    hour: Ints
    """(E,) hours since 1970."""
    seen: Floats
    """(E, 2) impressions and clicks."""
    num_items: int

    def grouped(self, group_of_item: Ints, num_groups: int) -> "Counts":
        """The counts of groups: items of group −1 are left out."""
        group = group_of_item[self.item]
        known = group >= 0
        return Counts(group[known], self.hour[known], self.seen[known], num_groups)

    def first_hours(self) -> Ints:
        """(I,) the first hour each item was shown in; NEVER for those not shown."""
        first = np.full(self.num_items, NEVER)
        np.minimum.at(first, self.item, self.hour)
        return first


def counts_of(item_hours: pa.Table, item_ids: pa.Array) -> Counts:
    """The counts in `item_hours` of the items of `item_ids`, numbered by their place there."""
    number = pc.index_in(item_hours["item_id"], item_ids)
    known = item_hours.filter(pc.is_valid(number))
    seen = np.stack([known["impressions"].to_numpy(), known["clicks"].to_numpy()], axis=1)
    return Counts(
        number.drop_null().to_numpy().astype(np.int64),
        hour_of(known["hour"]),
        seen.astype(np.float64),
        len(item_ids),
    )


def read_as_of(counts: Counts, item: Ints, hour: Ints, *, half_life_hours: float) -> Floats:
    """Decayed impressions and clicks of each query's item in the hours completed before its hour.

    Args:
        counts: what was seen; it may reach beyond the queries' hours.
        item: (Q,) numbers of the items asked for.
        hour: (Q,) the hour each query lies in, in hours since 1970: the first it may not see.
        half_life_hours: after so many hours a count weighs one half.

    Returns:
        (Q, 2) decayed impressions and clicks.
    """
    found = np.zeros((len(item), 2))
    for rows, state in sweep(counts, hour, half_life_hours=half_life_hours):
        found[rows] = state[item[rows]]
    return found


def sweep(counts: Counts, hour: Ints, *, half_life_hours: float) -> Iterator[tuple[Ints, Floats]]:
    """Go through the hours once, and stop at each that a query lies in.

    Every item's decayed sum is kept while the hours pass: cost is hours × items, whatever the
    number of queries, and nothing is subtracted that could cancel.

    Yields:
        The queries of one hour, and the (I, 2) decayed counts of all items as they may see them.
        The latter is only valid until the next step.
    """
    asked, queried = _by_hour(hour)
    order, counted = _by_hour(counts.hour)
    state = np.zeros((counts.num_items, 2))
    last = max(queried, default=0)
    events = sorted(set(queried) | {past + 1 for past in counted if past < last})
    before = events[0] if events else 0
    for now in events:
        state *= 2.0 ** (-(now - before) / half_life_hours)
        if now - 1 in counted:
            rows = order[counted[now - 1]]
            np.add.at(state, counts.item[rows], counts.seen[rows])
        if now in queried:
            yield asked[queried[now]], state
        before = now


def _by_hour(hour: Ints) -> tuple[Ints, dict[int, slice]]:
    """Rows in the order of their hours, and the part of them that lies in each hour."""
    order = np.argsort(hour, kind="stable")
    hours, starts = np.unique(hour[order], return_index=True)
    bounds = [*starts.tolist(), len(order)]
    parts = [slice(start, stop) for start, stop in pairwise(bounds)]
    return order, dict(zip(hours.tolist(), parts, strict=True))


def smoothed_logit(seen: Floats, prior: Floats | float, *, strength: Floats | float) -> Floats:
    """Log-odds of the click rate in (…, 2) impressions and clicks, shrunk towards `prior`.

    As if `strength` more impressions had been seen at the prior's rate.
    """
    rate = (seen[..., 1] + strength * prior) / (seen[..., 0] + strength)
    # Decayed sums of equal histories may differ in the last bit, so clicks can pass impressions.
    rate = np.clip(rate, 1e-4, 1 - 1e-4)
    return np.log(rate / (1 - rate))
