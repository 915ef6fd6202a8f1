"""Several looks at one challenger, and no more error than at one: alpha spending.

Shapes: K looks.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.special import ndtr, ndtri

from tasks.evaluation.slates import Floats

NODES = 100
"""Points of the quadrature over the paths that have not crossed yet."""
REACH = 8.0
"""Standard deviations below which no path is followed."""
LEAST_STEP = 0.05
"""Information that a look adds at least, as a share of what was there. A smaller step would be
narrower than the quadrature sees; taking it as larger calls two looks less alike than they are, which
errs to the safe side."""


def look_level(information: Floats, level: float, looks: int) -> float:
    """The one-sided level at which the newest of K looks is held so that all spend `level` at most.

    Each look spends level/looks. Its boundary b_k is where, with Z_1, …, Z_K the looks' z-values,

        P(Z_1 < b_1, …, Z_{k−1} < b_{k−1}, Z_k ≥ b_k) = level / looks,

    and the level returned is P(Z_K ≥ b_K). It is more than level/looks, because days that share
    evidence often cross together: on eight even looks 1/365 is spent at 1/2920 on the first and at
    about 1/1300 on the last. The looks' times may depend on anything but the gains seen.

    Args:
        information: (K,) 1/variance of the gain at each look so far, oldest first; Cov(Z_j, Z_k) is
            √(information_j / information_k), as for any sum of independent pieces.
        level: of all looks together.
        looks: most looks; after them nothing is left, and the level is 0.

    Source: Lan & DeMets (1983), Biometrika 70, with spending linear in the number of looks; the
        recursion is Armitage, McPherson & Rowe (1969), JRSS A 132.
    """
    if len(information) > looks:
        return 0.0
    spent = level / looks
    time = _increasing(information)
    bound = float(-ndtri(spent)) * np.sqrt(time[0])
    path, weight = _nodes(np.sqrt(time[0]), bound)
    mass = weight * _density(path, np.sqrt(time[0]))
    for before, now in pairwise(time):
        step = np.sqrt(now - before)
        bound = _boundary(path, mass, step, spent, np.sqrt(now))
        following, weight = _nodes(np.sqrt(now), bound)
        mass = weight * (_density(following[:, None] - path, step) @ mass)
        path = following
    return float(ndtr(-bound / np.sqrt(time[-1])))


def _increasing(information: Floats) -> Floats:
    """The looks' information where each adds at least LEAST_STEP."""
    time = np.array(information, np.float64)
    for look in range(1, len(time)):
        time[look] = max(time[look], (1 + LEAST_STEP) * time[look - 1])
    return time / time[-1]


def _boundary(path: Floats, mass: Floats, step: float, spent: float, scale: float) -> float:
    """Where the paths of `mass` at `path` cross with probability `spent` after one more step."""
    low, high = 0.0, REACH * scale
    for _ in range(40):
        middle = (low + high) / 2
        if ndtr((path - middle) / step) @ mass > spent:
            low = middle
        else:
            high = middle
    return high


def _nodes(scale: float, bound: float) -> tuple[Floats, Floats]:
    """Points and weights of a Gauss-Legendre rule from REACH standard deviations below to `bound`."""
    at, weight = _rule()
    low = -REACH * scale
    half = (bound - low) / 2
    return low + half * (at + 1), half * weight


@lru_cache(maxsize=1)
def _rule() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(NODES)


def _density(value: Floats, deviation: float) -> Floats:
    return np.exp(-0.5 * (value / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
