"""The challenger's gain within parts of the impressions: where it wins, and where it loses.

Shapes: N rows, S slates.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.evaluation.clusters import studentised_interval, sums_by_user, user_by_slate
from tasks.evaluation.metrics import auc_by_slate
from tasks.evaluation.slates import Bools, Column, group_slates


@dataclass(frozen=True)
class SliceGain:
    """A contest's gain on the slates of one slice."""

    slice: str
    gain: float
    """Mean over the slice's slates of the challenger's AUC less the champion's."""
    low: float
    """Lower end of the gain's two-sided interval, of this slice alone."""
    high: float
    impressions: int
    users: int

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as the day's record keeps them."""
        return asdict(self)


def gain_by_slice(
    champion_scores: Column,
    challenger_scores: Column,
    clicked: Column,
    impression_ids: Column,
    user_ids: Column,
    members: Mapping[str, Bools],
    *,
    confidence: float,
    resamples: int = 2000,
    seed: int,
) -> list[SliceGain]:
    """The gain of `hold_contest` on each slice, with an interval of its own.

    A slate belongs to a slice when one of its clicked rows does: a slice of items is about finding
    those items. The intervals are not corrected for their number: of ten 95 % intervals one may
    well miss. A slice whose slates are all one user's has no interval and is left out.

    Args:
        members: (N,) membership of the rows, by the slice's name.

    Raises:
        EvaluationError: a score is no number, or a slate belongs to two users.
    """
    slates = group_slates(clicked, impression_ids)
    gains = auc_by_slate(challenger_scores, slates) - auc_by_slate(champion_scores, slates)
    users = user_by_slate(slates, user_ids)
    found = []
    for name, member in members.items():
        chosen = np.zeros(len(slates.rows), np.bool_)
        chosen[slates.slate[slates.clicked & member]] = True
        chosen &= slates.ranks
        if len(np.unique(users[chosen])) < 2:
            continue
        by_user = sums_by_user(gains[chosen], users[chosen])
        low, high = studentised_interval(
            *by_user, confidence=confidence, resamples=resamples, seed=seed
        )
        impressions = int(np.count_nonzero(chosen))
        gain = float(gains[chosen].mean())
        found.append(SliceGain(name, gain, low, high, impressions, len(by_user[0])))
    return found
