"""The items' part in a gain: an item that one model misjudges is misjudged in every slate that shows it.

Shapes: N rows, S slates, T tie runs, I items, K days.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.evaluation.debiased import click_weights
from tasks.evaluation.slates import Bools, Column, Floats, Ints, Slates, TieRuns, factorise, sum_by
from tasks.evaluation.tails import degrees_of

ITEM_GAIN = pa.struct(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("gain", pa.float32(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
    ]
)
"""One candidate's pairs in a slate: the sum of what the challenger gains in them, and of their weights;
the pairs of a slate weigh 1 together."""


def gains_by_item(
    old: TieRuns,
    new: TieRuns,
    slates: Slates,
    item_ids: Column,
    *,
    examined: Column | None = None,
) -> pa.ListArray:
    """(S,) the ITEM_GAIN of each candidate; null where a slate is not judged.

    A slate's AUC is the mean over its (click, skip) pairs, and each pair belongs to two items. The
    gains of a slate's clicks add up to the slate's gain, and so do those of its skips.

    Args:
        old: tie runs of the champion's scores.
        new: tie runs of the challenger's.
        item_ids: (N,) the candidate of each row.
        examined: (N,) how much each row's position is looked at. With it the pairs are those of
            `debiased_auc_by_slate`, a row is part click and part skip, and every slate is judged.
    """
    click = (
        slates.clicked.astype(np.float64) if examined is None else click_weights(slates, examined)
    )
    skip = 1 - click
    clicks, skips = (sum_by(slates.slate, part, len(slates.rows)) for part in (click, skip))
    pairs = click * (skips[slates.slate] - skip) + skip * (clicks[slates.slate] - click)
    gain = _pairs_won(new, slates, click, skip) - _pairs_won(old, slates, click, skip)
    judged = slates.ranks if examined is None else np.ones_like(slates.ranks)
    of_slate = sum_by(slates.slate, pairs, len(slates.rows)) / 2
    unit = of_slate if examined is None else np.full(len(of_slate), of_slate.mean())
    share = 1 / np.where(judged, unit, 1.0)[slates.slate]
    return _listed(item_ids, gain * share, pairs * share, slates, judged)


def _listed(
    item_ids: Column, gain: Floats, weight: Floats, slates: Slates, judged: Bools
) -> pa.ListArray:
    order = np.argsort(slates.slate, kind="stable")
    order = order[judged[slates.slate[order]]]
    item, names = factorise(item_ids, "item_id")
    fields = [
        names.cast(pa.string()).take(pa.array(item[order])),
        pa.array(gain[order], pa.float32()),
        pa.array(weight[order], pa.float32()),
    ]
    ends = np.cumsum(np.where(judged, slates.rows, 0))
    offsets = pa.array(np.append(0, ends).astype(np.int32), mask=np.append(~judged, False))
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays(fields, fields=list(ITEM_GAIN))
    )


def _pairs_won(runs: TieRuns, slates: Slates, click: Floats, skip: Floats) -> Floats:
    """(N,) weight of each row's pairs with the click above the skip; a tie counts one half."""
    start = np.cumsum(runs.length) - runs.length
    clicks, skips = (np.add.reduceat(part[runs.order], start) for part in (click, skip))
    first = np.searchsorted(runs.slate, runs.slate)
    clicks_above, skips_above = (
        before - before[first] for before in (np.cumsum(part) - part for part in (clicks, skips))
    )
    in_slate = sum_by(slates.slate, skip, len(slates.rows))[runs.slate]
    won = np.empty(len(runs.order))
    won[runs.order] = click[runs.order] * np.repeat(
        in_slate - skips_above - skips / 2, runs.length
    ) + skip[runs.order] * np.repeat(clicks_above + clicks / 2, runs.length)
    return won


@dataclass(frozen=True)
class Shared:
    """Sums over the days up to each, from which the items' variance follows for any gain."""

    gains: Floats
    """(K, I) Σ gain of each item's candidates."""
    weights: Floats
    """(K, I) Σ weight."""
    squares: Floats
    """(K, 3) Σ over candidates of gain², gain · weight and weight²."""

    def variance(self, last: int, gain: float, slates: float) -> tuple[float, float]:
        """What the slates of one item share, as variance of the gain, and its degrees of freedom.

        With i_cs the influence of candidate c in slate s, gain_cs − gain · weight_cs: Σ over items of
        (Σ_s i_cs)² less Σ i_cs², which is what the slates have each for itself and the users' variance
        has already; over slates². Where that is not positive, items share nothing.

        Source: two-way clustering, Cameron, Gelbach & Miller (2011), JBES 29; units that belong to two
            clusters of one kind, Aronow, Samii & Assenova (2015), Political Analysis 23.
        """
        influence = self.gains[last] - gain * self.weights[last]
        own = self.squares[last] @ [1.0, -2 * gain, gain**2]
        shared = float(influence @ influence - own) / slates**2
        if shared <= 0:
            return 0.0, 1.0
        return shared, degrees_of(influence[self.weights[last] > 0])


def shared_by_items(items: pa.ChunkedArray, day: Ints) -> Shared | None:
    """The sums over (S,) lists of ITEM_GAIN; None where no slate has one.

    Args:
        items: null where a slate is not judged.
        day: (S,) number of the slate's day, from 0.
    """
    length = pc.fill_null(pc.list_value_length(items), 0).to_numpy()
    candidates = pc.list_flatten(items).combine_chunks()
    if len(candidates) == 0:
        return None
    day_of = np.repeat(day, length)
    item, names = factorise(candidates.field("item_id"), "item_id")
    gain, weight = (
        candidates.field(name).to_numpy().astype(np.float64) for name in ("gain", "weight")
    )
    days = int(day.max()) + 1
    cell, shape = day_of * len(names) + item, (days, len(names))
    squares = [np.bincount(day_of, v, days) for v in (gain**2, gain * weight, weight**2)]
    return Shared(
        gains=running_sums(cell, gain, shape),
        weights=running_sums(cell, weight, shape),
        squares=np.cumsum(np.stack(squares, axis=1), axis=0),
    )


def running_sums(cell: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    """(K, …) sums of the values in each cell of the flattened shape, over the days up to each."""
    sums = np.bincount(cell, values, minlength=shape[0] * shape[1]).reshape(shape)
    return np.cumsum(sums, axis=0)
