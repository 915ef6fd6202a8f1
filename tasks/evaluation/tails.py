"""How many standard errors an end of an interval is away, where users are few and gains skewed.

Shapes: U independent pieces of evidence: users, or items.
"""

import numpy as np
from scipy.special import ndtri, stdtrit

from tasks.evaluation.slates import Floats


def lower_distance(residual_U: Floats, level: float) -> float:
    """Standard errors below the gain at which the end lies that is above the truth with `level`.

    With e_u a user's influence on the gain, z the normal quantile of 1 − level:

        t_ν(1 − level) + max(0, 2s − κ) (2z² + 1) / 6,
        ν = 2 (Σe²)² / (Σe⁴ − (Σe²)² / U),    κ = Σe³ / (Σe²)^{3/2},    s = √Σe⁶ / (Σe²)^{3/2}.

    ν are the degrees of freedom that the variance has by Satterthwaite's moments: a few users who carry
    most of it leave few. κ is the skewness of the gain: where a few lose much (κ < 0), a sample that
    happens to hold few of them shows a high gain and a small error at once, and t's upper tail is
    longer. Such a sample also understates the skewness, so κ is taken as two of its own standard errors
    (s) worse than it looks; with thousands of even users that is nothing. Where a few gain much, the
    correction would shorten the tail, on the word of those few; it is not taken. The upper end's
    distance is that of −e.

    Source: Satterthwaite (1946), Biometrics 2; the first-order term in the skewness: Johnson (1978),
        JASA 73, Hall (1992), The Bootstrap and Edgeworth Expansion, sec. 2.6.
    """
    return distance(level, degrees_of(residual_U), skewness_of(residual_U))


def distance(level: float, degrees: float, skewness: float) -> float:
    """`lower_distance` for given ν and κ − 2s; infinite where no level is left."""
    if level <= 0:
        return np.inf
    z = ndtri(1 - level)
    return float(stdtrit(degrees, 1 - level) + max(0.0, -skewness) * (2 * z**2 + 1) / 6)


def degrees_of(residual_U: Floats) -> float:
    """ν of `lower_distance`, from 2, where one of them is all, to U − 1."""
    squares = residual_U**2
    variance = squares.sum()
    most = len(residual_U) - 1
    spread = squares @ squares - variance**2 / len(residual_U)
    if spread <= 2 * variance**2 / most:
        return float(most)
    return float(2 * variance**2 / spread)


def skewness_of(residual_U: Floats) -> float:
    """κ − 2s of `lower_distance`: the skewness, two standard errors worse for a lower end."""
    squares = residual_U**2
    skewness = squares @ residual_U - 2 * np.sqrt((squares**3).sum())
    return float(skewness / squares.sum() ** 1.5)
