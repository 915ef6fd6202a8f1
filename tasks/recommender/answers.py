"""The tasks on top of a ranker: rank a slate, or keep what is likely enough to be clicked.

A threshold is chosen where labels are known and nothing was trained: on a validation. The functions below
read it off there, one for each thing an operator may want to fix; it is stored nowhere.

Shapes: N rows.
"""

from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from tasks.errors import ModelError
from tasks.recommender.statistics import Floats, Ints

Column: TypeAlias = ArrayLike | pa.Array | pa.ChunkedArray
Bools = NDArray[np.bool_]


def ranks(scores: Floats, slate: Column) -> Ints:
    """(N,) rank of each row in its slate: 1 has the highest score, and equal scores share a rank.

    A rank is one more than the rows of the slate that score higher, as SQL's rank() has it.

    Args:
        scores: (N,) any monotone scale.
        slate: (N,) ids of the rows' slates; rows of one slate need not follow each other.
    """
    number = _numbered(slate)
    order = np.lexsort((-scores, number))
    group, score = number[order], scores[order]
    new_slate = np.diff(group, prepend=-1) != 0
    new_score = new_slate.copy()
    new_score[1:] |= score[1:] != score[:-1]
    place = np.arange(len(order))
    found = np.empty(len(order), np.int64)
    found[order] = _latest(place, new_score) - _latest(place, new_slate) + 1
    return found


def kept(probability: Floats, threshold: float) -> Bools:
    """(N,) whether the filter keeps a row: its click probability is the threshold or more."""
    return probability >= threshold


def threshold_for_precision(
    probability: Floats, clicked: Column, target: float, *, confidence: float = 0.95
) -> float | None:
    """The smallest threshold that surely keeps rows of which `target` are clicked.

    Surely: the lower bound of Wilson's interval of the click rate among the kept rows, one-sided at
    `confidence`, is `target` or more. So a few lucky rows at the top are no proof.

    Args:
        probability: (N,) of rows that nothing was trained on.
        clicked: (N,) what became of them.
        target: click rate among the kept.
        confidence: of the bound at one threshold; looking at all of them costs some of it.

    Returns:
        One of `probability`; None if no threshold shows the target.

    Source: Wilson (1927).
    """
    values, rows, clicks = _kept_at(probability, clicked)
    z = NormalDist().inv_cdf(confidence)
    rate = clicks / rows
    middle = rate + z**2 / (2 * rows)
    reach = z * np.sqrt(rate * (1 - rate) / rows + z**2 / (4 * rows**2))
    enough = np.flatnonzero((middle - reach) / (1 + z**2 / rows) >= target)
    return float(values[enough[-1]]) if len(enough) else None


def threshold_for_recall(probability: Floats, clicked: Column, target: float) -> float:
    """The largest threshold that keeps at least a share `target` of the clicks.

    Raises:
        ModelError: nothing was clicked.
    """
    values, _, clicks = _kept_at(probability, clicked)
    if not clicks[-1]:
        raise ModelError(
            f"None of {len(probability):,} rows was clicked, so no threshold has a recall. "
            "Choose it on more rows."
        )
    return float(values[np.argmax(clicks >= target * clicks[-1])])


def threshold_for_volume(probability: Floats, share: float) -> float | None:
    """The smallest threshold that keeps at most a share of the rows; None if ties keep more.

    Rows of one probability are kept or left together.
    """
    values, rows, _ = _kept_at(probability, np.zeros(len(probability)))
    few = np.flatnonzero(rows <= share * len(probability))
    return float(values[few[-1]]) if len(few) else None


def _kept_at(probability: Floats, clicked: Column) -> tuple[Floats, Floats, Floats]:
    """Distinct probabilities from the highest, and how many rows and clicks each of them keeps."""
    if not len(probability):
        raise ModelError("There are no rows to choose a threshold on. Give it a validation.")
    values, of = np.unique(-np.asarray(probability, np.float64), return_inverse=True)
    clicks = np.bincount(of, np.asarray(clicked, np.float64))
    return -values, np.cumsum(np.bincount(of)).astype(np.float64), np.cumsum(clicks)


def _latest(place: Ints, marked: Bools) -> Ints:
    """(N,) the last marked place at or before each."""
    return np.maximum.accumulate(np.where(marked, place, 0))


def _numbered(slate: Column) -> Ints:
    array = slate if isinstance(slate, pa.Array | pa.ChunkedArray) else pa.array(slate)
    encoded = pc.dictionary_encode(array)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy().astype(np.int64)
