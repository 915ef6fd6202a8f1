"""How often each of the most shown items was shown and clicked."""

from collections.abc import Sequence

import numpy as np

from tasks.drift.measures import sums
from tasks.drift.mix import Floats, Ints, Mix, combine

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
    order = np.argsort(np.array(items, dtype=object))
    rows = np.bincount(codes, minlength=len(items)).astype(np.float64)[order]
    clicks = sums(codes, clicked, len(items))[order]
    names = tuple(items[place] for place in order)
    # an item comes at most once in an impression, so its rows vary as a count does
    return combine([Mix(names, rows, clicks, rows, float(rows.sum()), capacity=CAPACITY)])
