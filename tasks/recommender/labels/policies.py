"""Which impressions become shots: one function for each policy of `recipe.Selection`.

Each returns the numbers of the chosen impressions, as `number_impressions` counts them.

Shapes: N rows, S impressions, D width of a vector.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.recommender.labels.classes import (
    categories,
    impression_classes,
    proportional,
    quotas,
    telling_rows,
)
from tasks.recommender.labels.cover import herd, k_center
from tasks.recommender.labels.evidence import (
    Evidence,
    Shift,
    probabilities_of,
    require,
    vectors_of,
)
from tasks.recommender.labels.impressions import Impressions, number_impressions
from tasks.recommender.statistics import Floats, Ints

MAX_SHIFT = 10.0
"""Factor by which a category's moved share may raise or lower an impression's odds to be drawn."""


def choose(rows: pa.Table, num: int, policy: str, evidence: Evidence, seed: int) -> pa.Table:
    """The rows of `num` impressions by a policy of `recipe.Selection`."""
    impressions = number_impressions(rows)
    if not num or num >= len(impressions):
        return rows if num else rows.slice(0, 0)
    rng = np.random.default_rng(seed)
    everything = np.arange(len(impressions))
    if policy == "recent":
        chosen = everything[len(everything) - num :]
    elif policy == "balanced":
        chosen = balanced(impression_classes(rows, impressions, evidence, "policy"), num, rng)
    elif policy == "drift":
        shift = require(evidence.shift, "shift", "policy: drift")
        category = categories(rows, require(evidence.catalogue, "catalogue", "policy: drift"))
        weight = shift_weights(category, shift)
        telling = telling_rows(rows, impressions)
        mean = impressions.total(weight * telling) / impressions.total(telling.astype(np.float64))
        chosen = weighted_draw(mean, num, rng)
    elif policy == "uncertain":
        found = probabilities_of(rows, evidence, "policy: uncertain")
        chosen = np.argsort(uncertainty(found, impressions), kind="stable")[::-1][:num]
    elif policy == "k_center":
        vectors = vectors_of(rows, impressions, evidence, "policy: k_center")
        chosen = k_center(vectors, num, first=int(rng.integers(len(vectors))))
    else:
        assert policy == "random", policy
        chosen = rng.permutation(len(impressions))[:num]
    return impressions.rows_of(rows, chosen)


def replayed(rows: pa.Table, num: int, evidence: Evidence) -> pa.Table:
    """The rows of `num` impressions whose mean stays that of all, class by class.

    Each class gets its share of `num`, as ADER gives each item.

    Source: ADER, Mi et al. (2020).
    """
    impressions = number_impressions(rows)
    if not num or num >= len(impressions):
        return rows if num else rows.slice(0, 0)
    group = impression_classes(rows, impressions, evidence, "replay: herding")
    vectors = vectors_of(rows, impressions, evidence, "replay: herding")
    members = [np.flatnonzero(group == each) for each in range(int(group.max()) + 1)]
    quota = proportional(np.bincount(group), num)
    chosen = [own[herd(vectors[own], take)] for own, take in zip(members, quota, strict=True)]
    return impressions.rows_of(rows, np.concatenate(chosen))


def balanced(group: Ints, num: int, rng: np.random.Generator) -> Ints:
    """`num` impressions, as many of each class as there are to be had, drawn evenly within it.

    Args:
        group: (S,) number of each impression's class.
        num: how many to choose.
        rng: draws them.
    """
    order = rng.permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    place = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    return order[place < quotas(np.bincount(group), num)[group[order]]]


def shift_weights(category: NDArray[np.object_], shift: Shift) -> Floats:
    """(N,) importance of each row's category: its share now over its share before.

    w(c) = p_recent(c) / p_reference(c), clipped to [1 / MAX_SHIFT, MAX_SHIFT]; 1 for a category
    that `shift` does not name.
    """
    weight = {name: _ratio(before, now) for name, (before, now) in shift.items()}
    return np.fromiter((weight.get(name, 1.0) for name in category), np.float64, len(category))


def _ratio(before: float, now: float) -> float:
    if before <= 0:
        return MAX_SHIFT if now > 0 else 1.0
    return min(MAX_SHIFT, max(1 / MAX_SHIFT, now / before))


def weighted_draw(weight: Floats, num: int, rng: np.random.Generator) -> Ints:
    """`num` numbers without replacement, each next one with a probability in proportion to weight.

    Those with the largest log w + Gumbel noise. So a category's share among few shots is
    proportional to its share among the impressions times its weight.

    Source: Efraimidis and Spirakis (2006); as Gumbel top-k, Kool et al. (2019).
    """
    return np.argsort(-(np.log(weight) + rng.gumbel(size=len(weight))), kind="stable")[:num]


def uncertainty(probability: Floats, impressions: Impressions) -> Floats:
    """(S,) entropy of what the start says of each impression, over the largest it could be.

    For a single candidate of probability p, H(p, 1 − p) / log 2. For a slate of n, H(q) / log n,
    with q from `slate_shares`: without the division, the longest slates would always win.

    Source: entropy sampling, Settles (2009).
    """
    share = slate_shares(probability, impressions)
    single = impressions.size == 1
    clear = np.clip(probability, 1e-12, 1 - 1e-12)
    terms = np.where(
        single[impressions.slate],
        -clear * np.log(clear) - (1 - clear) * np.log1p(-clear),
        -share * np.log(np.maximum(share, 1e-300)),
    )
    return impressions.total(terms) / np.log(np.maximum(impressions.size, 2))


def slate_shares(probability: Floats, impressions: Impressions) -> Floats:
    """(N,) softmax over each impression of its candidates' log-odds: q ∝ p / (1 − p)."""
    clear = np.clip(probability, 1e-12, 1 - 1e-12)
    odds = clear / (1 - clear)
    return odds / impressions.total(odds)[impressions.slate]
