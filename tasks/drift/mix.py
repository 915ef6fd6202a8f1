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
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tasks.drift.measures import sums

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_VALUES = 1000
"""Values kept of one column: none is low by more than a thousandth of the rows."""

SAMPLED = 20_000
"""Impressions whose spread is measured: an even sample of more is as good."""

CELLS = 1_000_000
"""Impressions × values at once; beyond it fewer impressions are sampled."""


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
    # code -1, where there is no value, is counted in a group before the first and left out
    rows = np.bincount(codes + 1, minlength=len(values) + 1)[1:].astype(np.float64)
    clicks = sums(codes + 1, clicked, len(values) + 1)[1:]
    spread = slates.spread(codes, rows)
    return combine([_sorted(values, rows, clicks, spread, capacity)])


@dataclass(frozen=True)
class Slates:
    """Which rows were shown together."""

    codes: Ints
    """(N,) number of the row's impression."""
    sizes: Floats
    """(M,) rows of each impression."""

    def every(self, step: int) -> tuple[Ints, "Slates"]:
        """The rows of every `step`-th impression, and which of them were shown together."""
        if step == 1:
            return np.arange(len(self.codes)), self
        chosen = np.flatnonzero(self.codes % step == 0)
        return chosen, Slates(self.codes[chosen] // step, self.sizes[::step])

    @cached_property
    def sample(self) -> tuple[int, Ints, "Slates"]:
        """`every` so many that at most SAMPLED are left; the step first."""
        step = max(1, -(-len(self.sizes) // SAMPLED))
        return step, *self.every(step)

    def spread(self, codes: Ints, rows: Floats) -> Floats:
        """(K,) Σ over impressions of (rows of the value − share × rows)²: how much `rows` varies.

        If every row were drawn by itself it would be rows × (1 − share). A value that all rows of an
        impression share has more; one that comes once in every impression, such as a position, none.
        """
        step, chosen, slates = self.sample
        sampled = codes[chosen]
        if (further := -(-len(slates.sizes) * len(rows) // CELLS)) > 1:
            step, (chosen, slates) = step * further, slates.every(further)
            sampled = sampled[chosen]
        return step * _spread(sampled, slates, rows, rows / self.sizes.sum(), step)


def _spread(codes: Ints, slates: Slates, rows: Floats, shares: Floats, step: int) -> Floats:
    """`Slates.spread` over all impressions of `slates`; `rows` / step where none has the value."""
    there = codes >= 0
    cells = (slates.codes * len(rows) + codes)[there]
    size = len(slates.sizes) * len(rows)
    counted = np.bincount(cells, minlength=size).reshape(len(slates.sizes), len(rows))
    counted = counted.astype(np.float64)
    squares = np.einsum("mk,mk->k", counted, counted)
    crossed = slates.sizes @ counted
    spread = squares - 2 * shares * crossed + shares**2 * (slates.sizes @ slates.sizes)
    return np.where(squares == 0, rows / step, np.maximum(spread, 0.0))


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
