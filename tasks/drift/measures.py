"""How far two days are apart, as effect sizes, each with what sampling alone would show.

Every alarm that compares raw distances flips with the number of rows: 1,000 rows of the same
world are always some distance apart. Here n and m are numbers of independent observations, and
noise is the root mean square of a distance under "nothing changed": distance² − noise² is an
unbiased estimate of the true distance squared, whatever n and m are.

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


def jensen_shannon_noise(degrees: int, n: float, m: float) -> float:
    """Mean of the divergence when only sampling tells the two apart.

    It is about (1/n + 1/m) χ² / (8 ln 2) with B − 1 degrees of freedom (Lin's divergence is a
    quarter of χ² to second order).
    """
    return degrees * (1 / n + 1 / m) / (8 * math.log(2))


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


def log_ratio(before_hits: int, before_rows: int, hits: int, rows: int) -> tuple[float, float]:
    """|ln| of the ratio of two rates, and its standard error at the pooled rate.

    0.18 is a fifth more clicks. Half a hit is added to each side, so no hits at all is far away but
    finite; the error is √((1 − p)/p (1/n + 1/m)), by the delta method.
    """
    first = (before_hits + 0.5) / (before_rows + 1)
    second = (hits + 0.5) / (rows + 1)
    pooled = (before_hits + hits + 1) / (before_rows + rows + 2)
    error = math.sqrt((1 - pooled) / pooled * (1 / (before_rows + 1) + 1 / (rows + 1)))
    return abs(math.log(second / first)), error


def standardised_distance(
    before: Shares, before_variance: float, n: float, now: Shares, variance: float, m: float
) -> tuple[float, float]:
    """Distance of two mean vectors (D,) in standard deviations of a single vector, and its noise.

    Cohen's d with one scale for all dimensions: ‖Δ‖ / σ. The variances are total ones,
    E‖v − mean‖²; noise is what two means of n and m vectors are apart by chance.
    """
    spread = (before_variance * n + variance * m) / (n + m)
    if spread <= 0:
        return 0.0, 0.0
    noise = before_variance / n + variance / m
    return float(np.linalg.norm(now - before)) / math.sqrt(spread), math.sqrt(noise / spread)


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
