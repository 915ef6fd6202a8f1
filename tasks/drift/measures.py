"""How far two days are apart, as effect sizes: what sampling alone would show is taken off.

Every alarm that compares raw distances flips with the number of rows: 1,000 rows of the same
world are always some distance apart. Here n and m are numbers of independent observations, and a
value is what is left of the distance after its mean and two standard deviations under "nothing
changed". It grows to the true distance as n and m grow, and never beyond sampling noise exceeds it.

Shapes: B bins or categories, D dimensions.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.float64]


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


def jensen_shannon_noise(bins: int, n: float, m: float) -> float:
    """What sampling adds to the divergence, as its mean and two standard deviations.

    It is about (1/n + 1/m) χ² / (8 ln 2) with B − 1 degrees of freedom (Lin's divergence is a
    quarter of χ² to second order).
    """
    degrees = max(bins - 1, 0)
    reach = degrees + 2 * math.sqrt(2 * degrees)
    return reach * (1 / n + 1 / m) / (8 * math.log(2))


def beyond_noise(distance: float, noise: float) -> float:
    """What is left of `distance`; 0 when sampling explains it."""
    return max(distance - noise, 0.0)


def rate_shift(before: float, before_rows: float, now: float, now_rows: float) -> float:
    """|difference| of two shares beyond two standard errors of the pooled share."""
    if not before_rows or not now_rows:
        return 0.0
    pooled = (before * before_rows + now * now_rows) / (before_rows + now_rows)
    error = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / before_rows + 1 / now_rows))
    return beyond_noise(abs(now - before), 2 * error)


def log_ratio(before_hits: int, before_rows: int, hits: int, rows: int) -> float:
    """How far the Wilson intervals of two rates are apart, |ln|; 0.18 is a fifth more clicks.

    Zero while the intervals overlap, so a handful of rows is no evidence whatever its rate; with
    more rows it grows to |ln(rate now / rate before)|.

    Source: Wilson (1927), probable inference; 90 % intervals.
    """
    if not before_rows or not rows:
        return 0.0
    first, second = sorted([wilson(before_hits, before_rows), wilson(hits, rows)], key=sum)
    return max(math.log(second[0] / first[1]), 0.0) if second[0] > 0 else 0.0


def wilson(hits: int, rows: int, z: float = 1.645) -> tuple[float, float]:
    """Score interval of the rate hits / rows: sound for no hits and for few rows."""
    share, weight = hits / rows, z * z / rows
    middle = share + weight / 2
    reach = math.sqrt(weight * (share * (1 - share) + weight / 4))
    return max(middle - reach, 0.0) / (1 + weight), (middle + reach) / (1 + weight)


def standardised_distance(
    before: Shares, before_variance: float, n: float, now: Shares, variance: float, m: float
) -> float:
    """Distance of two mean vectors (D,) in standard deviations of a single vector.

    Cohen's d with one scale for all dimensions: √(‖Δ‖² − noise) / σ. The variances are total
    ones, E‖v − mean‖²; noise is what two means of n and m vectors are apart by chance.
    """
    noise = before_variance / n + variance / m
    spread = (before_variance * n + variance * m) / (n + m)
    gap = now - before
    left = beyond_noise(float(gap @ gap), noise)
    return math.sqrt(left / spread) if spread > 0 else 0.0


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
