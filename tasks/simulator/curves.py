"""The portal's known curves: who looks how far down a slate, and when readers come and click."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAY_FACTORS = np.array([1.1, 1.1, 1.1, 1.1, 1.0, 0.8, 0.8])
"""Traffic from Monday to Sunday; the mean is 1."""

CLICK_SWING = 0.1
"""Log-odds of a click at its best hour above the day's mean."""
WEEKEND_CLICKS = 0.05
"""Log-odds that a Saturday or Sunday adds: there is time to read."""


def examination(positions: NDArray[np.int64], bias: float) -> Floats:
    """Probability that a reader looks at a position at all: position^(−bias).

    Args:
        positions: 1 is the top.
        bias: 0 looks everywhere; 1 halves at position 2.

    Source: the position-based model, Craswell et al. (WSDM 2008); the power law with known
        exponent as in Joachims, Swaminathan and Schnabel (WSDM 2017).
    """
    return positions.astype(np.float64) ** -bias


def hour_shares() -> Floats:
    """(24,) share of a day's impressions in each hour (UTC): a morning and an evening peak."""
    hour = np.arange(24)
    weight = (
        0.25
        + np.exp(-(((hour - 8) / 2.5) ** 2))
        + 0.5 * np.exp(-(((hour - 13) / 2.5) ** 2))
        + 1.2 * np.exp(-(((hour - 20) / 2.5) ** 2))
    )
    return weight / weight.sum()


def impressions_of(day: date, mean: int) -> int:
    """How many impressions `day` has, where an average day has `mean`; at least 1."""
    return max(round(mean * DAY_FACTORS[day.weekday()]), 1)


def impressions_by_hour(total: int) -> NDArray[np.int64]:
    """(24,) impressions in each hour; they add up to `total` exactly."""
    reached = np.round(np.cumsum(hour_shares()) * total).astype(np.int64)
    return np.diff(reached, prepend=0)


def click_rhythm(day: date) -> Floats:
    """(24,) log-odds that the hour adds to a click: highest at 21:00, lowest at 09:00."""
    swing = CLICK_SWING * np.cos(2 * np.pi * (np.arange(24) - 21) / 24)
    return swing + WEEKEND_CLICKS * (day.weekday() >= 5)
