"""Which of the shots' skips are kept.

Shapes: N rows, S impressions.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.recommender.labels.classes import clicked_rows
from tasks.recommender.labels.impressions import number_impressions
from tasks.recommender.statistics import Floats, Ints


def keep_negatives(
    rows: pa.Table,
    probabilities: Floats | None,
    *,
    negatives: int,
    hardness: float,
    seed: int,
) -> pa.Table:
    """All clicks, and some of the skips of each impression.

    An impression keeps `negatives` skips for each of its clicks, and as many as for one click if it
    has none. With r the place of a skip by the start's probability among its impression's skips (1
    is the highest; equal ones share their mean place), skips are drawn without replacement, each
    next one with a probability proportional to

        r ^ (−h / (1 − h)),    h = hardness

    so 0 is an even draw, 0.5 draws by 1 / r, and 1 takes the highest. In one formula: those with the
    largest (1 − h) G − h log r are kept, with G standard Gumbel noise.

    Args:
        rows: of whole impressions, with event_time, impression_id, item_id and label.
        probabilities: (N,) of the rows by the start; None if hardness is 0.
        negatives: skips kept for each click.
        hardness: h in [0, 1].
        seed: of the noise.

    Returns:
        The kept rows, in their order.

    Source: ranks as in Schaul et al. (2016); hard negatives, Schroff et al. (2015).
    """
    impressions = number_impressions(rows)
    clicked = clicked_rows(rows)
    slate = impressions.slate
    place = np.ones(len(rows))
    if hardness > 0:
        assert probabilities is not None
        place = _places(slate, clicked, probabilities)
    key = -hardness * np.log(place)
    noise = _noise(rows, slate, clicked, place, seed)
    # At hardness 1 the noise weighs nothing, and still decides between equal places.
    order = np.lexsort((-noise, -(key + (1 - hardness) * noise), clicked, slate))
    first = np.searchsorted(slate[order], slate[order])
    kept = clicked.copy()
    clicks = np.bincount(slate, clicked, minlength=len(impressions)).astype(np.int64)
    quota = negatives * np.maximum(clicks, 1)
    # Within an impression its skips come first.
    kept[order[np.arange(len(order)) - first < quota[slate[order]]]] = True
    return rows.filter(pa.array(kept))


def _places(slate: Ints, clicked: NDArray[np.bool_], probability: Floats) -> Floats:
    """(N,) place of each skip among its impression's skips, 1 for the highest probability."""
    order = np.lexsort((-probability, clicked, slate))
    ordered = np.stack([slate[order], clicked[order], probability[order]])
    fresh = (ordered[:, 1:] != ordered[:, :-1]).any(0)
    group = np.cumsum(np.append(0, fresh))
    start = np.searchsorted(group, group, side="left")
    stop = np.searchsorted(group, group, side="right")
    place = np.empty(len(order))
    place[order] = (start + stop + 1) / 2 - np.searchsorted(slate[order], slate[order])
    return place


def _noise(
    rows: pa.Table, slate: Ints, clicked: NDArray[np.bool_], place: Floats, seed: int
) -> Floats:
    """(N,) Gumbel noise that hangs on what a row is, not on where it lies."""
    order = np.lexsort((rows["item_id"].to_numpy(), place, clicked, slate))
    noise = np.empty(len(order))
    noise[order] = np.random.default_rng(seed).gumbel(size=len(order))
    return noise
