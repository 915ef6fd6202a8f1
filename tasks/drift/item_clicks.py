"""How often each of the most shown items was shown and clicked."""

from collections.abc import Sequence

import numpy as np

from tasks.drift.measures import sums
from tasks.drift.mix import Floats, Ints, Mix

ITEM = "item"
"""The mix's name; its values come and go, so its shares are not compared."""

CAPACITY = 2000
"""Items kept of a day, and of a reference."""


def count_items(items: Sequence[str], codes: Ints, clicked: Floats) -> Mix:
    """Rows and clicks by item, in 60 KB.

    Args:
        items: (I,) distinct.
        codes: (N,) the item of each row.
        clicked: (N,) 1 where the row was clicked.
    """
    rows = np.bincount(codes, minlength=len(items)).astype(np.float64)
    total, cut = float(rows.sum()), 0.0
    if len(items) > CAPACITY:
        # Misra and Gries' step, before the names are sorted: most items of a day are rare
        cut = float(np.partition(rows, -CAPACITY - 1)[-CAPACITY - 1])
    kept = sorted(np.flatnonzero(rows > cut).tolist(), key=items.__getitem__)
    at = np.array(kept, dtype=np.int64)
    left = rows[at] - cut
    clicks = sums(codes, clicked, len(items))[at] * left / rows[at]
    # an item comes at most once in an impression, so its rows vary as a count does
    return Mix(tuple(items[i] for i in kept), left, clicks, left, total, cut, CAPACITY)
