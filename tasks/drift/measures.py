"""How far two days are apart, as effect sizes, each with what sampling alone would show.

Every alarm that compares raw distances flips with the number of rows: 1,000 rows of the same
world are always some distance apart. Here n and m are numbers of independent observations, and
noise is the root mean square of a distance under "nothing changed": distance² − noise² is an
unbiased estimate of the true distance squared, whatever n and m are.

Shapes: B bins or categories, D dimensions.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.float64]


def sums(codes: npt.NDArray[np.integer[Any]], weights: Shares, groups: int) -> Shares:
    """(groups,) weights summed by code."""
    return np.bincount(codes, weights=weights, minlength=groups).astype(np.float64, copy=False)


def jensen_shannon(reference: Shares, current: Shares) -> float:
    """Jensen-Shannon divergence in bits over B categories, empty ones included: in [0, 1].

    ½ Σ p log₂(p / m) + ½ Σ q log₂(q / m) with m = (p + q) / 2.

    Source: Lin (1991), Divergence measures based on the Shannon entropy.
    """
    middle = (reference + current) / 2

    def to_middle(shares: Shares) -> float:
        there = shares > 0
        return float((shares[there] * np.log2(shares[there] / middle[there])).sum())

    return max((to_middle(reference) + to_middle(current)) / 2, 0.0)


def effective_degrees(weights: Shares) -> float:
    """Degrees of freedom of Σ wᵢ χ²₁ over B terms, by its first two moments: (Σ w)² / Σ w², at least 1.

    Source: Satterthwaite (1946).
    """
    squares = float(weights @ weights)
    return max(float(weights.sum()) ** 2 / squares, 1.0) if squares else 1.0


def chance(value: float, noise: float, degrees: float) -> float:
    """P(X ≥ degrees × (value / noise)²) for X of χ² with `degrees`: sampling alone shows as much."""
    from scipy.special import chdtrc

    if not noise:
        return 1.0 if not value else 0.0
    return float(chdtrc(degrees, degrees * (value / noise) ** 2))


def share_shift(
    before: float, before_rows: float, now: float, now_rows: float
) -> tuple[float, float]:
    """|difference| of two shares, and the standard error of it at the pooled share."""
    if not before_rows or not now_rows:
        return 0.0, 0.0
    pooled = (before * before_rows + now * now_rows) / (before_rows + now_rows)
    variance = max(pooled * (1 - pooled), 0.0)
    return abs(now - before), math.sqrt(variance * (1 / before_rows + 1 / now_rows))


class Rate(NamedTuple):
    """Hits out of a base."""

    hits: float
    base: float
    """Rows, or the hits that were expected."""
    design: float = 1.0
    """Variance of the hits over that of as many drawn one by one."""


class LogRatio(NamedTuple):
    """How far two rates are apart."""

    signed: float
    """ln(rate now / rate before); 0.18 is a fifth more clicks."""
    noise: float
    """Its standard error if nothing had changed."""


def log_ratio(before: Rate, now: Rate, *, of_rows: bool = True) -> LogRatio:
    """ln of the ratio of two rates.

    Half a hit is added to each side, so no hits at all is far away but finite. With the pooled rate
    p the error is √(design (1 − p) / hits expected) of either side, by the delta method.

    Args:
        of_rows: the base is rows, each a hit or not; else it is expected hits, and p is small.
    """
    pooled = (before.hits + now.hits + 1) / (before.base + now.base + 2)
    misses = 1 - pooled if of_rows else 1.0

    def rate(side: Rate) -> float:
        return (side.hits + 0.5) / (side.base + 0.5 / pooled)

    def variance(side: Rate) -> float:
        return side.design * misses / (pooled * side.base + 0.5)

    return LogRatio(math.log(rate(now) / rate(before)), math.sqrt(variance(before) + variance(now)))


def quantile_edges(counts: Mapping[int, int], parts: int) -> list[int]:
    """First values of groups that hold about equal counts, and the value after the last group.

    There are at most `parts` groups, and a value that alone exceeds a part has its own. What lies
    outside of the edges was not seen: a column that only ever held one value can still drift.
    """
    values = sorted(counts)
    part = sum(counts.values()) / parts
    edges, filled = [values[0]], 0
    for value in values:
        if filled and (filled >= part or filled + counts[value] > 1.5 * part):
            edges.append(value)
            filled = 0
        filled += counts[value]
    return [*edges, values[-1] + 1]
