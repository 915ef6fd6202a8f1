"""How much each position is looked at, and what a click at it therefore counts.

The position-based model: P(click | user, item, position) = examined(position) · relevance(user, item).
A position's own click rate mixes the two, because portals put what they think relevant where readers
look. What tells them apart is the same item at different positions: its clicks differ by examination
alone. Examination is relative: 1 at the first position, whatever share of readers looks there.

Shapes: N rows, K groups of positions, C cells (distinct combinations of position, item, score).

Source: Richardson et al. (WWW 2007), Craswell et al. (WSDM 2008): the model; Agarwal et al. (WSDM 2019):
items at several positions as interventions; Joachims et al. (WSDM 2017): weights.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.losses import pooled_aucs, ranking_aucs
from tasks.recommender.statistics import Floats, Ints

RELEVANCE = "relevance"
"""Column of the rows' `expected_relevance`: what a state is chosen by, instead of clicks."""
LEAST_CLICKS = 100
"""Clicks behind each estimate: a relative error of about a tenth. Positions with fewer share one."""
LOWEST, HIGHEST = 0.01, 10.0
"""Estimates are kept between these; a position far below is hardly measured."""
SCORE_BINS = 20
"""Groups of equally many rows into which scores are cut."""
CAP = 10.0
"""Most that a click may count against one at the first position: bounds the variance for some bias."""
ROUNDS, TOLERANCE = 2_000, 1e-5
"""Of the fit; the tolerance is of the logarithm of an examination."""

Column: TypeAlias = NDArray | pa.Array | pa.ChunkedArray


@dataclass(frozen=True)
class Examination:
    """How often each position is looked at, against the first."""

    position: Ints
    """(P,) positions that were logged, ascending."""
    examined: Floats
    """(P,) relative to the first; it may rise again, and pass 1."""

    def at(self, position: Column) -> Floats:
        """(N,) examination of each row's position.

        Positions that were not logged are read off their neighbours, those beyond the last like
        the last. A row without a position has the mean over the positions.
        """
        place = _numbers(position)
        found = np.interp(place, self.position, self.examined)
        return np.where(np.isnan(place), self.examined.mean(), found)


def estimate_examination(
    position: Column, clicked: Column, item: Column, score: NDArray | None = None
) -> Examination:
    """Examination by position, from clicks on the same items at different positions.

    Clicks are fitted as Poisson counts with mean examined(position) · appeal(item) · match(score): one
    free factor for each position, each item, and each twentieth of the scores. That is solved by
    scaling each factor in turn until its clicks are met. In these counts an item's own factor
    adds no bias however rarely it is shown (Hausman, Hall and Griliches, 1984), and without scores the fit
    is that of clicks over expected clicks (Zhang and Jones, 2007).

    Args:
        position: (N,) where the candidate stood; rows without one are left out.
        clicked: (N,) whether it was clicked.
        item: (N,) ids.
        score: (N,) how well the item suits the user, on any monotone scale, such as a ranker's. Needed
            where the log's own layout puts what suits the user first; without it, that looks like
            examination.

    Raises:
        ModelError: no positions, a single one, too few clicks, or positions that share no items.
    """
    place = _numbers(position)
    known = ~np.isnan(place)
    if not known.any():
        raise ModelError(
            f"None of {len(place):,} rows has a position, so nothing tells how far readers look. "
            "Map the log's column to `position` in source.columns, or turn `propensity` off."
        )
    distinct, at = np.unique(place[known].astype(np.int64), return_inverse=True)
    clicks = np.asarray(clicked, np.float64)[known]
    by_position = np.bincount(at, clicks).astype(np.float64)
    group = _pooled(by_position)
    _require_several(distinct, by_position, group)
    items = pc.dictionary_encode(_array(item).filter(pa.array(known))).indices.to_numpy()
    match = _score_bins(score, known)
    cells = _count(group[at], items.astype(np.int64), match, clicks)
    _require_shared_items(cells, distinct, group)
    examined = _fit(cells)
    examined = np.clip(examined / examined[0], LOWEST, HIGHEST)
    return Examination(distinct, examined[group])


def inverse_propensity_weights(
    position: Column, clicked: Column, examination: Examination, *, cap: float = CAP
) -> Floats:
    """(N,) weights in the loss under which clicks count as if all positions were looked at alike.

    A click weighs min(1/examined, cap), over the mean of that among the clicks, so that learning rate
    and regularisation keep their meaning. A skip weighs 1. For losses that only read the weights
    of clicks (listwise, pairs) the expected loss is the one without position bias, but for the
    cap. For cross-entropy of each row the unbiased skip's part 1 − clicked/examined (Saito et al.
    2020) is cut at 0: a weight below 0 has no minimum.

    Args:
        position: (N,) where the candidate stood.
        clicked: (N,) whether it was clicked.
        examination: estimated on these or other rows.
        cap: most that 1/examined may be.

    Source: Joachims et al. (WSDM 2017); capped and self-normalised as in Swaminathan and Joachims
        (NeurIPS 2015).
    """
    raw = expected_relevance(position, clicked, examination, cap=cap)
    click = raw > 0
    return np.where(click, raw / raw[click].mean() if click.any() else raw, 1.0)


def expected_relevance(
    position: Column, clicked: Column, examination: Examination, *, cap: float = CAP
) -> Floats:
    """(N,) clicked · min(1/examined, cap): by expectation the chance of a click at the first position."""
    inverse = np.minimum(1 / examination.at(position), cap)
    return np.where(np.asarray(clicked, np.float64) > 0, inverse, 0.0)


def debiased_slate_aucs(scores: Floats, relevant: Floats, slate: Ints) -> Floats:
    """(S,) what each slate adds to the AUC against relevance, which is their mean; empty without pairs.

    ½ + (pairs won − pairs / 2) · S / Σ pairs, where a pair weighs relevantᵢ (1 − relevantⱼ). It takes the
    place of `slate_aucs` where clicks are weighted: by clicks alone, a head that has unlearned
    the layout looks worse than one that repeats it.

    Args:
        scores: (N,) any monotone scale; ties count one half.
        relevant: (N,) of `expected_relevance`.
        slate: (N,) number of each row's slate, from 0.

    Source: Saito et al. (WSDM 2020); the same as `tasks.evaluation.debiased` computes.
    """
    order = np.lexsort((scores, slate))
    group, score, click = slate[order], scores[order], relevant[order]
    new_run = np.append(True, (group[1:] != group[:-1]) | (score[1:] != score[:-1]))
    start = np.flatnonzero(new_run[: len(group)])
    clicks, skips = np.add.reduceat(click, start), np.add.reduceat(1 - click, start)
    of_run = group[start]
    below = np.cumsum(skips) - skips
    below -= below[np.searchsorted(of_run, of_run)]
    itself = np.bincount(group, click * (1 - click))
    won = np.bincount(of_run, clicks * (below + skips / 2)) - itself / 2
    pairs = np.bincount(group, click) * np.bincount(group, 1 - click) - itself
    if pairs.sum() <= 0:
        return np.empty(0)
    return 0.5 + (won - pairs / 2) * len(pairs) / pairs.sum()


def judged_aucs(scores: Floats, clicked: Floats, slate: Ints, relevant: Floats | None) -> Floats:
    """(V,) how well each slate is ranked: against clicks, or against relevance where it is known.

    Slates of one candidate have no layout: they are ranked against each other by clicks.

    Args:
        scores: (N,) any monotone scale.
        clicked: (N,) whether it was clicked.
        slate: (N,) number of each row's slate.
        relevant: (N,) of `expected_relevance`; None where clicks are taken at their word.
    """
    if relevant is None or not len(slate):
        return ranking_aucs(scores, clicked, slate)
    alone = np.bincount(slate)[slate] == 1
    _, several = np.unique(slate[~alone], return_inverse=True)
    within = debiased_slate_aucs(scores[~alone], relevant[~alone], several)
    return np.concatenate([within, pooled_aucs(scores[alone], clicked[alone])])


def row_relevance(rows: pa.Table, order: Ints) -> Floats | None:
    """(N,) the column `relevance` of `rows` in another order; null is the label. None without one."""
    if RELEVANCE not in rows.column_names:
        return None
    relevant = pc.coalesce(rows[RELEVANCE].cast(pa.float64()), rows["label"].cast(pa.float64()))
    return relevant.to_numpy()[order]


@dataclass(frozen=True)
class _Cells:
    """Rows counted by group of positions, item and group of scores."""

    group: Ints
    item: Ints
    match: Ints
    shown: Floats
    clicks: Floats


def _pooled(clicks: Floats) -> Ints:
    """(P,) group of each position: neighbours together until they have LEAST_CLICKS."""
    group = np.zeros(len(clicks), np.int64)
    to_come = clicks.sum()
    here = 0.0
    for place, more in enumerate(clicks):
        if place and here >= LEAST_CLICKS and to_come >= LEAST_CLICKS:
            group[place:] += 1
            here = 0.0
        here, to_come = here + more, to_come - more
    return group


def _require_several(distinct: Ints, clicks: Floats, group: Ints) -> None:
    if len(distinct) == 1:
        raise ModelError(
            f"Every row stands at position {distinct[0]}, so nothing tells how far readers look. "
            "Turn `propensity` off."
        )
    if not group.any():
        raise ModelError(
            f"{clicks.sum():,.0f} clicks at {len(distinct)} positions are too few to estimate "
            f"examination: it takes {LEAST_CLICKS} at each of two. Train on more days."
        )


def _score_bins(score: NDArray | None, known: NDArray[np.bool_]) -> Ints:
    """(N,) twentieth of each known row's score; rows of one score stay together."""
    if score is None:
        return np.zeros(int(known.sum()), np.int64)
    values = np.asarray(score, np.float64)[known]
    cuts = np.quantile(values, np.arange(1, SCORE_BINS) / SCORE_BINS)
    return np.searchsorted(np.unique(cuts), values, side="right")


def _count(group: Ints, item: Ints, match: Ints, clicks: Floats) -> _Cells:
    key = (item * SCORE_BINS + match) * (group.max() + 1) + group
    _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    return _Cells(
        group[first],
        item[first],
        match[first],
        np.bincount(cell).astype(np.float64),
        np.bincount(cell, clicks).astype(np.float64),
    )


def _require_shared_items(cells: _Cells, distinct: Ints, group: Ints) -> None:
    """Positions are compared by the clicked items that they share; all must hang together."""
    clicked = np.bincount(cells.item, cells.clicks) > 0
    kept = clicked[cells.item]
    of_cell, item = cells.group[kept], cells.item[kept]
    part = np.arange(int(group.max()) + 1)
    for _ in part:
        lowest = np.full(len(clicked), len(part))
        np.minimum.at(lowest, item, part[of_cell])
        np.minimum.at(part, of_cell, lowest[item])
    apart = distinct[part[group] > 0]
    if len(apart):
        raise ModelError(
            f"Position {apart[0]} shares no clicked item with position {distinct[0]}, so how far "
            "readers look cannot be told from what stands there. Train on more days, or turn "
            "`propensity` off."
        )


def _fit(cells: _Cells) -> Floats:
    """(K,) examination of each group of positions, up to a common factor."""
    factors = [
        (index, np.bincount(index, cells.clicks), np.ones(int(index.max()) + 1))
        for index in (cells.item, cells.match, cells.group)
    ]
    expected = cells.shown.copy()
    for _ in range(ROUNDS):
        for index, clicks, factor in factors:
            met = np.bincount(index, expected)
            scale = np.divide(clicks, met, out=np.zeros(len(met)), where=met > 0)
            factor *= scale
            expected *= scale[index]
        # the last scale is that of the positions
        moved = scale / scale[0]
        if np.abs(np.log(moved)).max() < TOLERANCE:
            break
    return factor


def _numbers(position: Column) -> Floats:
    """(N,) positions as floats, NaN where there is none."""
    if isinstance(position, pa.Array | pa.ChunkedArray):
        return pc.cast(position, pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(position, np.float64)


def _array(column: Column) -> pa.Array:
    array = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
