"""Impressions of a table, numbered so that nothing that is chosen hangs on the order of its rows.

Shapes: N rows, S impressions.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.recommender.statistics import Floats, Ints


@dataclass(frozen=True)
class Impressions:
    """The S impressions of N rows, numbered by time, and by id where times are equal."""

    slate: Ints
    """(N,) number of each row's impression."""
    appearance: Ints
    """(S,) each impression's place among the impressions in the order of their first rows."""
    size: Ints
    """(S,) candidates of each."""

    def __len__(self) -> int:
        return len(self.size)

    def rows_of(self, rows: pa.Table, chosen: Ints) -> pa.Table:
        """The rows of some impressions, in their order in `rows`."""
        return rows.filter(pa.array(np.isin(self.slate, chosen)))

    def total(self, values: Floats) -> Floats:
        """(S,) sum of (N,) `values` over the rows of each impression."""
        # Summed by size, so that rounding does not hang on the order of the rows either.
        order = np.lexsort((values, self.slate))
        return np.bincount(self.slate[order], values[order], len(self)).astype(np.float64)


def number_impressions(rows: pa.Table) -> Impressions:
    """Number the impressions of `rows` (event_time, impression_id)."""
    first_seen, time = impression_times(rows)
    ids = pc.dictionary_encode(rows["impression_id"]).combine_chunks().dictionary
    rank = pc.rank(ids).to_numpy() if len(ids) else np.empty(0, np.int64)
    appearance = np.lexsort((rank, time))
    number = np.empty_like(appearance)
    number[appearance] = np.arange(len(appearance))
    slate = number[first_seen]
    return Impressions(slate, appearance, np.bincount(slate, minlength=len(appearance)))


def count_impressions(rows: pa.Table) -> int:
    """How many impressions the rows show."""
    return int(pc.count_distinct(rows["impression_id"]).as_py())


def impression_times(rows: pa.Table) -> tuple[Ints, Ints]:
    """(N,) number of each row's impression, by first row, and (S,) their times in microseconds."""
    slate = pc.dictionary_encode(rows["impression_id"]).combine_chunks().indices.to_numpy()
    time = np.full(int(slate.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(time, slate, pc.cast(rows["event_time"], pa.int64()).to_numpy())
    return slate.astype(np.int64), time


def newest(rows: pa.Table, num: int) -> pa.Table:
    """The rows of the `num` latest impressions: what a short-term adapter learns from."""
    impressions = number_impressions(rows)
    return impressions.rows_of(rows, np.arange(len(impressions))[len(impressions) - num :])
