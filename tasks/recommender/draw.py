"""The slates that an adapter run looks at: few enough items that its time is bounded.

Shapes: S slates, H history length, N rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.recommender.slates import Slates
from tasks.recommender.statistics import Ints


@dataclass(frozen=True)
class Drawn:
    """Some slates, perhaps with fewer candidates and shorter histories, and items renumbered."""

    slates: Slates
    """`candidate` and `history` number the items in `items` here."""
    items: Ints
    """(I,) the drawn items' numbers among all."""
    rows: Ints
    """(N,) places of the drawn candidates among all."""


def draw_slates(
    slates: Slates,
    chosen: Ints,
    *,
    max_items: int,
    max_history: int,
    negatives: int,
    rng: np.random.Generator,
) -> Drawn:
    """Take `chosen` slates in their order, as long as their items are at most `max_items`.

    Args:
        slates: to draw from.
        chosen: numbers of slates, the most wanted first. The first is always taken.
        max_items: distinct items of candidates and histories.
        max_history: newest entries kept of each history.
        negatives: skipped candidates drawn from each slate; clicks are all kept.
        rng: draws the negatives.
    """
    kept = _kept_rows(slates, negatives, rng)
    history = slates.history[:, :max_history]
    chosen = chosen[: _affordable(slates, kept, history, chosen, max_items)]
    place = np.full(len(slates.history), -1)
    place[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(kept & (place[slates.slate] >= 0))
    rows = rows[np.argsort(place[slates.slate[rows]], kind="stable")]
    items = np.union1d(slates.candidate[rows], history[chosen])
    items = items[items >= 0]
    return Drawn(
        Slates(
            order=slates.order[rows],
            items=slates.items,
            candidate=np.searchsorted(items, slates.candidate[rows]),
            slate=place[slates.slate[rows]],
            hour=slates.hour[rows],
            label=slates.label[rows],
            history=_renumber(history[chosen], items),
            liked=slates.liked[chosen, :max_history],
        ),
        items,
        rows,
    )


def _kept_rows(slates: Slates, negatives: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(N,) all clicks, and `negatives` skips of each slate."""
    skipped = np.flatnonzero(slates.label == 0)
    order = skipped[np.lexsort((rng.random(len(skipped)), slates.slate[skipped]))]
    slate = slates.slate[order]
    first = np.searchsorted(slate, slate, side="left")
    kept = slates.label > 0
    kept[order[np.arange(len(order)) - first < negatives]] = True
    return kept


def _affordable(
    slates: Slates, kept: NDArray[np.bool_], history: Ints, chosen: Ints, max_items: int
) -> int:
    """How many of the chosen slates, from the first, have at most `max_items` items together."""
    place = np.full(len(slates.history), len(chosen))
    place[chosen] = np.arange(len(chosen))
    width = history.shape[1]
    item = np.concatenate([slates.candidate[kept], history[chosen].ravel()])
    of = np.concatenate([place[slates.slate[kept]], np.repeat(np.arange(len(chosen)), width)])
    of[item < 0] = len(chosen)
    order = np.argsort(of, kind="stable")
    _, first = np.unique(item[order], return_index=True)
    fresh = np.bincount(of[order][first], minlength=len(chosen) + 1)[: len(chosen)]
    return max(1, int(np.searchsorted(np.cumsum(fresh), max_items, side="right")))


def _renumber(history: Ints, items: Ints) -> Ints:
    return np.where(history >= 0, np.searchsorted(items, np.maximum(history, 0)), -1)
