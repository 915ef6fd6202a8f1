"""Impressions that stand for all: a cover of their vectors, or a sample with their mean.

Shapes: S impressions, D width of a vector. Memory is O(S · D), time O(num · S · D).
"""

import numpy as np
from numpy.typing import NDArray

from tasks.recommender.statistics import Ints

Vectors = NDArray[np.floating]


def k_center(vectors_SD: Vectors, num: int, *, first: int) -> Ints:
    """`num` centres, greedily: each is the farthest from those before.

    The largest distance from any vector to its nearest centre is at most twice the least possible.

    Args:
        vectors_SD: what is covered, by Euclidean distance.
        num: centres, at least 1 and at most S.
        first: number of the first centre; the bound holds for any.

    Source: Gonzalez (1985); as a choice of labels, Sener and Savarese (2018).
    """
    square = np.einsum("sd,sd->s", vectors_SD, vectors_SD)
    distance = np.full(len(vectors_SD), np.inf)
    chosen = [first]
    for _ in range(num - 1):
        centre = chosen[-1]
        new = square + square[centre] - 2 * (vectors_SD @ vectors_SD[centre])
        distance = np.minimum(distance, new)
        # Rounding may leave a copy of a centre some way off; the centre itself is never taken again.
        distance[centre] = -np.inf
        chosen.append(int(distance.argmax()))
    return np.array(chosen, np.int64)


def herd(vectors_SD: Vectors, num: int) -> Ints:
    """`num` numbers, greedily: each keeps the mean of the chosen nearest to the mean of all.

    The k-th minimises ‖μ − (x + Σ chosen) / k‖, with μ the mean of all S.

    Source: Welling (2009); in this form iCaRL, Rebuffi et al. (2017); as replay ADER, Mi et al. (2020).
    """
    vectors = np.asarray(vectors_SD, np.float64)
    mean = vectors.mean(0)
    square = np.einsum("sd,sd->s", vectors, vectors)
    total = np.zeros_like(mean)
    chosen: list[int] = []
    for k in range(1, num + 1):
        # ‖k μ − total − x‖² less what is the same for all x
        away = square - 2 * (vectors @ (k * mean - total))
        away[chosen] = np.inf
        chosen.append(int(away.argmin()))
        total += vectors[chosen[-1]]
    return np.array(chosen, np.int64)
