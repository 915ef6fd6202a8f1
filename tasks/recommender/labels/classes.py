"""What an impression is about: the class that `balanced` evens out and that `drift` watches.

Shapes: N rows, S impressions, K classes.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.recommender.labels.evidence import Evidence, Shift, require
from tasks.recommender.labels.impressions import Impressions
from tasks.recommender.statistics import Ints

UNKNOWN = ""
"""Category of an item of which the catalogue names none."""


def impression_classes(
    rows: pa.Table, impressions: Impressions, evidence: Evidence, knob: str
) -> Ints:
    """(S,) number of each impression's class, in the order of the classes' names.

    An impression of one candidate is of the class `clicked` or `skipped`. A slate is of the category
    of its clicked item (of several, of the one whose id comes first); slates without a click are a
    class of their own.
    """
    label = clicked_rows(rows)
    single = impressions.size == 1
    names = np.full(len(impressions), "0 skipped", object)
    clicked = np.flatnonzero(label)
    ids = rows["item_id"].to_numpy()[clicked]
    clicked = clicked[np.lexsort((ids, impressions.slate[clicked]))]
    slate, first = np.unique(impressions.slate[clicked], return_index=True)
    names[slate] = "1 clicked"
    if not single.all():
        catalogue = require(evidence.catalogue, "catalogue", knob)
        category = categories(rows, catalogue)
        names[slate] = np.where(single[slate], "1 clicked", "2 " + category[clicked[first]])
    return np.unique(names.astype(str), return_inverse=True)[1]


def categories(rows: pa.Table, catalogue: pa.Table) -> NDArray[np.object_]:
    """(N,) category of each row's item; UNKNOWN where the catalogue names none."""
    place = pc.index_in(rows["item_id"].combine_chunks(), catalogue["item_id"].combine_chunks())
    found = catalogue["category"].cast(pa.string()).combine_chunks().take(place)
    return pc.fill_null(found, UNKNOWN).to_numpy(zero_copy_only=False)


def category_shift(reference: pa.Table, recent: pa.Table, catalogue: pa.Table) -> Shift:
    """Share of each category among the candidates of `reference`, and among those of `recent`."""
    before, now = (categories(rows, catalogue) for rows in (reference, recent))
    names = np.unique(np.concatenate([before, now]).astype(str))
    shares = [
        np.bincount(np.searchsorted(names, part.astype(str)), minlength=len(names))
        / max(1, len(part))
        for part in (before, now)
    ]
    pairs = zip(*(share.tolist() for share in shares), strict=True)
    return dict(zip(names.tolist(), pairs, strict=True))


def clicked_rows(rows: pa.Table) -> NDArray[np.bool_]:
    """(N,) whether the row was clicked."""
    return rows["label"].to_numpy() > 0


def telling_rows(rows: pa.Table, impressions: Impressions) -> NDArray[np.bool_]:
    """(N,) the clicks; of an impression without any, all its candidates."""
    clicked = clicked_rows(rows)
    clicks = np.bincount(impressions.slate, clicked, minlength=len(impressions))
    return clicked | (clicks == 0)[impressions.slate]


def quotas(sizes: Ints, num: int) -> Ints:
    """(K,) equal shares of `num` for classes of K `sizes`; what a small one lacks, the others give.

    Where equal shares are not whole, the larger classes get the rest, and of equal ones the first.
    """
    quota = np.zeros(len(sizes), np.int64)
    left = min(num, int(sizes.sum()))
    while left:
        open_ = np.flatnonzero(quota < sizes)
        open_ = open_[np.argsort(-sizes[open_], kind="stable")]
        if left < len(open_):
            quota[open_[:left]] += 1
            break
        more = np.minimum(sizes[open_] - quota[open_], left // len(open_))
        quota[open_] += more
        left -= int(more.sum())
    return quota


def proportional(sizes: Ints, num: int) -> Ints:
    """(K,) shares of `num` in proportion to K `sizes`; the largest remainders are rounded up."""
    total = int(sizes.sum())
    exact = sizes * (min(num, total) / max(1, total))
    quota = np.floor(exact).astype(np.int64)
    rest = min(num, total) - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:rest]] += 1
    return quota
