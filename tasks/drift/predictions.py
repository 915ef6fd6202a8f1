"""What a model predicted of a day's candidates, and what came of it, by log-odds.

Shapes: N rows, B bins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WIDTH = 0.25
"""Log-odds of one bin."""

BINS = 80
"""They reach from -10 to 10; what lies beyond is in the first and last."""


@dataclass(frozen=True)
class Predictions:
    """One model's; sums, so that days add up."""

    rows: Floats
    """(B,)"""
    clicks: Floats
    """(B,)"""
    expected: Floats
    """(B,) sum of the predicted probabilities."""

    def to_json(self) -> dict[str, Any]:
        """The bins that hold rows, by number."""
        return {
            str(i): [self.rows[i], self.clicks[i], round(self.expected[i], 6)]
            for i in np.flatnonzero(self.rows).tolist()
        }

    @classmethod
    def from_json(cls, bins: Mapping[str, Sequence[float]]) -> "Predictions":
        """What `to_json` wrote."""
        sums = np.zeros((3, BINS))
        for number, counted in bins.items():
            sums[:, int(number)] = counted
        return cls(*sums)


def summarise(probabilities: Floats, clicked: npt.ArrayLike) -> Predictions:
    """The bins of predicted click probabilities.

    Args:
        probabilities: (N,) of a click.
        clicked: (N,) 1 or True where it came.
    """
    safe = np.clip(probabilities, 1e-9, 1 - 1e-9)
    numbers = np.floor(np.log(safe / (1 - safe)) / WIDTH).astype(np.int64) + BINS // 2
    bins = np.clip(numbers, 0, BINS - 1)
    weights = np.asarray(clicked, dtype=np.float64)
    return Predictions(
        np.bincount(bins, minlength=BINS).astype(np.float64),
        np.bincount(bins, weights=weights, minlength=BINS).astype(np.float64),
        np.bincount(bins, weights=probabilities, minlength=BINS).astype(np.float64),
    )


def combine(parts: Sequence[Predictions]) -> Predictions:
    """Sums over the days."""
    return Predictions(
        np.sum([part.rows for part in parts], axis=0),
        np.sum([part.clicks for part in parts], axis=0),
        np.sum([part.expected for part in parts], axis=0),
    )


def label(low: int, high: int) -> str:
    """The probabilities from bin `low` to before `high`, as people say it: `2.4 % to 3.1 %`."""
    first, last = (100 / (1 + np.exp(-(edge - BINS // 2) * WIDTH)) for edge in (low, high))
    if low <= 0:
        return f"below {last:.2g} %"
    return f"above {first:.2g} %" if high >= BINS else f"{first:.2g} % to {last:.2g} %"
