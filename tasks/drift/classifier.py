"""Whether a classifier can tell a day's texts from the reference's: a second opinion, when asked.

It takes 50 times as long as the sums of `text_effects`, and sees less: of a tenth of candidates
with new words it notices a third where those notice all. But it knows no kernel and no scale.

Shapes: S sampled items, P projected width.

Source: Lopez-Paz & Oquab (ICLR 2017), Revisiting classifier two-sample tests; AUC's null variance:
Mann & Whitney (1947).
"""

import math

import numpy as np

from tasks.drift.effect import Effect
from tasks.drift.profile import Profile
from tasks.drift.text import Floats, Sample

FOLDS = 5

MIN_ITEMS = 30
"""Items on either side below which nothing can be learned."""


def classify(reference: Profile, current: Profile) -> Effect | None:
    """AUC above one half of a ridge classifier on sampled projections, each fold judged by the others.

    An item that both sides showed is left out: it is no evidence of either. None where an encoder
    is not in common, or where either side has too few items of its own.
    """
    before, now = reference.text, current.text
    if before is None or now is None or before.encoder != now.encoder:
        return None
    first, second = _own(before.sample, now.sample), _own(now.sample, before.sample)
    n, m = len(first), len(second)
    if min(n, m) < MIN_ITEMS:
        return None
    vectors = np.concatenate([first, second])
    scores = _out_of_fold(vectors, np.repeat([0.0, 1.0], [n, m]))
    auc = _auc(scores[:n], scores[n:])
    noise = math.sqrt((n + m + 1) / (12 * n * m))
    words = f"a classifier tells today's texts from those before with AUC {auc:.2f}"
    return Effect("item_classifier", "AUC above 1/2", max(auc - 0.5, 0.0), noise, words)


def _own(sample: Sample, other: Sample) -> Floats:
    """(S, P) vectors of the items that only this side's sample has."""
    alone = ~np.isin(sample.hashes, other.hashes)
    return sample.vectors[alone].astype(np.float64)


def _out_of_fold(vectors: Floats, labels: Floats) -> Floats:
    """(S,) scores of each item by a classifier that did not see it."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = RidgeClassifier(alpha=10.0, class_weight="balanced")
    scores: Floats = cross_val_predict(model, vectors, labels, cv=folds, method="decision_function")
    return scores


def _auc(before: Floats, now: Floats) -> float:
    """Share of pairs in which the item of now scores higher."""
    return float(np.mean(now[:, None] > before[None, :]))
