"""How far two days are apart, as effect sizes: what sampling alone would show is taken off.

Every alarm that compares raw distances flips with the number of rows: 1,000 rows of the same
world are always some distance apart. Here n and m are numbers of independent observations, and a
value is what is left of the distance after its mean and two standard deviations under "nothing
changed". It grows to the true distance as n and m grow, and never beyond sampling noise exceeds it.

Shapes: B bins or categories, D dimensions.
"""

import math

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
    """|ln(rate now / rate before)| beyond two standard errors; 0.18 is 20 % more clicks.

    Half a hit is added on both sides, so that no clicks at all is a number.

    Source: Katz et al. (1978), confidence intervals for the risk ratio.
    """
    if not before_rows or not rows:
        return 0.0
    x, y = before_hits + 0.5, hits + 0.5
    n, m = before_rows + 0.5, rows + 0.5
    error = math.sqrt(max(1 / x - 1 / n + 1 / y - 1 / m, 0.0))
    return beyond_noise(abs(math.log((y / m) / (x / n))), 2 * error)


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


def quantile_edges(counts: dict[int, int], parts: int) -> list[int]:
    """First values of the 2nd to last of at most `parts` groups that hold about equal counts.

    A value that alone exceeds a part keeps a group of its own.
    """
    values = sorted(counts)
    total = sum(counts.values())
    edges, filled, start = [], 0, 0
    for value in values:
        if filled - start >= total / parts or (
            filled > start and filled - start + counts[value] > 1.5 * total / parts
        ):
            edges.append(value)
            start = filled
        filled += counts[value]
    return edges
