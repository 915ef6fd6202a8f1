"""Which values a column has, and how often: exact while they are few, frequent ones beyond that.

A Misra-Gries summary, merged as Agarwal et al. do: a value's rows are low by at most `error`, and
`error` is at most total / (capacity + 1) whatever was merged in whatever order. Beside the rows
each value carries its clicks and its sampling variance, which the library's sketch of frequent items
cannot, and the same rows give the same bytes.

Shapes: K values, N rows, M impressions.

Sources: Misra & Gries (1982), Finding repeated elements; Agarwal et al. (PODS 2012), Mergeable
summaries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.drift.measures import sums

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_VALUES = 1000
"""Values kept of one column: none is low by more than a thousandth of the rows."""

CELLS = 4_000_000
"""Impressions × values counted at once; beyond it an even sample of the impressions is."""


@dataclass(frozen=True)
class Mix:
    """Rows of one column by value."""

    values: tuple[str, ...]
    """(K,) sorted."""
    rows: Floats
    """(K,)"""
    clicks: Floats
    """(K,)"""
    spread: Floats
    """(K,) sampling variance of `rows`: that of whole impressions drawn again."""
    total: float
    """Rows with a value: those of values that were not kept, too."""
    error: float = 0.0
    """A value has at most so many rows more than `rows` says."""
    capacity: int = MAX_VALUES

    def rows_of(self, values: Sequence[str]) -> Floats:
        """(B,) rows of any values; none of those it does not hold."""
        return self._of(self.rows, values)

    def clicks_of(self, values: Sequence[str]) -> Floats:
        """(B,) clicks of any values."""
        return self._of(self.clicks, values)

    def spread_of(self, values: Sequence[str]) -> Floats:
        """(B,) sampling variance of the rows of any values."""
        return self._of(self.spread, values)

    @property
    def others(self) -> float:
        """Rows of all values that were not kept."""
        return max(self.total - float(self.rows.sum()), 0.0)

    def _of(self, counts: Floats, values: Sequence[str]) -> Floats:
        place = {value: number for number, value in enumerate(self.values)}
        return np.array([counts[place[v]] if v in place else 0.0 for v in values])


def count(
    values: Sequence[str],
    codes: Ints,
    clicked: Floats,
    slates: "Slates",
    *,
    capacity: int = MAX_VALUES,
) -> Mix:
    """The mix of one column of one day.

    Args:
        values: (K,) distinct values.
        codes: (N,) each row's value; -1 where it has none.
        clicked: (N,) 1 where the row was clicked.
        slates: the rows' impressions.
        capacity: most values to keep.
    """
    there = codes >= 0
    kept = codes if there.all() else codes[there]
    rows = np.bincount(kept, minlength=len(values)).astype(np.float64)
    clicks = sums(kept, clicked[there], len(values))
    spread = slates.spread(codes, rows)
    return combine([_sorted(values, rows, clicks, spread, capacity)])


@dataclass(frozen=True)
class Slates:
    """Which rows were shown together."""

    codes: Ints
    """(N,) number of the row's impression."""
    sizes: Floats
    """(M,) rows of each impression."""

    def spread(self, codes: Ints, rows: Floats) -> Floats:
        """(K,) Σ over impressions of (rows of the value − share × rows)²: how much `rows` varies.

        If every row were drawn by itself it would be rows × (1 − share). A value that all rows of an
        impression share has more; one that comes once in every impression, such as a position, none.
        """
        num_values = len(rows)
        if not num_values:
            return rows
        step = max(1, -(-len(self.sizes) * num_values // CELLS))
        chosen = (codes >= 0) if step == 1 else (codes >= 0) & (self.codes % step == 0)
        impressions = self.codes if step == 1 else self.codes // step
        cells = impressions * num_values + codes
        sizes = self.sizes[::step]
        counted = np.bincount(
            cells if chosen.all() else cells[chosen], minlength=len(sizes) * num_values
        ).reshape(len(sizes), num_values)
        shares = rows / self.sizes.sum()
        crossed = sizes @ counted
        squares = np.einsum("mk,mk->k", counted, counted, dtype=np.float64)
        spread = squares - 2 * shares * crossed + shares**2 * (sizes @ sizes)
        unseen = counted.sum(axis=0) == 0
        return np.where(unseen, rows, np.maximum(spread, 0.0) * step)


def combine(mixes: Sequence[Mix]) -> Mix:
    """The mix of all rows together; sums are exact until there are more values than capacity."""
    values, codes = np.unique(
        np.array([value for mix in mixes for value in mix.values], dtype=object),
        return_inverse=True,
    )

    def summed(name: str) -> Floats:
        parts = np.concatenate([getattr(mix, name) for mix in mixes])
        return sums(codes, parts, len(values))

    whole = Mix(
        tuple(values.tolist()),
        summed("rows"),
        summed("clicks"),
        summed("spread"),
        sum(mix.total for mix in mixes),
        sum(mix.error for mix in mixes),
        min(mix.capacity for mix in mixes),
    )
    return _pruned(whole)


def _pruned(mix: Mix) -> Mix:
    """Take the first count that is one too many off every count, and drop what is left of none."""
    if len(mix.values) <= mix.capacity:
        return mix
    cut = float(np.sort(mix.rows)[-mix.capacity - 1])
    at = np.flatnonzero(mix.rows > cut)
    left = mix.rows[at] - cut
    kept = left / mix.rows[at]
    return Mix(
        tuple(mix.values[i] for i in at),
        left,
        mix.clicks[at] * kept,
        mix.spread[at] * kept,
        mix.total,
        mix.error + cut,
        mix.capacity,
    )


def _sorted(
    values: Sequence[str], rows: Floats, clicks: Floats, spread: Floats, capacity: int
) -> Mix:
    order = np.argsort(np.asarray(values, dtype=object), kind="stable")
    names = tuple(str(values[i]) for i in order)
    return Mix(names, rows[order], clicks[order], spread[order], float(rows.sum()), 0.0, capacity)
