"""EVIDENCE as arrays: read once, asked by every rule.

Shapes: S impressions, U users, C candidates of all judged impressions, I items, D days.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.evaluation.item_gains import Shared
from tasks.evaluation.slates import Bools, Floats, Ints, factorise, sum_by


@dataclass(frozen=True)
class Candidates:
    """What each candidate adds to the gain, as ITEM_GAIN has it."""

    slate: Ints
    """(C,) number of the impression."""
    item: Ints
    """(C,) number of the item."""
    gain: Floats
    """(C,)"""
    weight: Floats
    """(C,)"""

    def shared(self, chosen: Bools, gain: float) -> tuple[float, float]:
        """Variance of the chosen impressions' `gain` that they share by their items, and its degrees.

        Args:
            chosen: (S,) impressions.
            gain: their mean gain.
        """
        kept = chosen[self.slate]
        item, gains, weights = self.item[kept], self.gain[kept], self.weight[kept]
        if not len(item):
            return 0.0, 1.0
        num = int(self.item.max()) + 1
        sums = Shared(
            gains=sum_by(item, gains, num)[None],
            weights=sum_by(item, weights, num)[None],
            squares=np.array([[gains @ gains, gains @ weights, weights @ weights]]),
        )
        return sums.variance(0, gain, float(np.count_nonzero(chosen)))


@dataclass(frozen=True)
class Impressions:
    """S impressions of U users, over all days of a contest."""

    user: Ints
    """(S,) number of the impression's user."""
    num_users: int
    judged: Bools
    """(S,) whether the impression has an AUC under both models."""
    champion_auc: Floats
    """(S,) 0 where it is not judged."""
    challenger_auc: Floats
    by_day: Ints
    """(D,) judged impressions of each day, oldest first."""
    candidates: "Candidates"

    @property
    def gain(self) -> Floats:
        """(S,) the challenger's AUC less the champion's; 0 where it is not judged."""
        return self.challenger_auc - self.champion_auc

    def by_user(self, values: Floats) -> Floats:
        """(U,) sums of the (S,) values over each user's impressions."""
        return sum_by(self.user, values, self.num_users)


def read(evidence: pa.Table) -> Impressions:
    """The columns of EVIDENCE that all rules share."""
    user, names = factorise(evidence["user_id"], "user_id")
    old, new = (evidence[f"{name}_auc"] for name in ("champion", "challenger"))
    judged = pc.and_(old.is_valid(), new.is_valid()).to_numpy()
    day = evidence["day"].cast(pa.int32()).to_numpy()
    days, of_day = np.unique(day, return_inverse=True)
    return Impressions(
        user=user,
        num_users=len(names),
        judged=judged,
        champion_auc=np.where(judged, old.fill_null(0).to_numpy(), 0.0),
        challenger_auc=np.where(judged, new.fill_null(0).to_numpy(), 0.0),
        by_day=np.bincount(of_day, judged, minlength=len(days)).astype(np.int64),
        candidates=_candidates(evidence["items"]),
    )


def _candidates(items: pa.ChunkedArray) -> Candidates:
    slate, found = unnested(items)
    item, _ = factorise(pc.struct_field(found, "item_id"), "item_id")
    gain, weight = (
        pc.struct_field(found, name).to_numpy().astype(np.float64) for name in ("gain", "weight")
    )
    return Candidates(slate, item, gain, weight)


def members_of(evidence: pa.Table) -> dict[str, Bools]:
    """(S,) membership of the impressions, by the slice's name in alphabetical order."""
    slate, names = unnested(evidence["slices"])
    number, found = factorise(names, "slice")
    held = np.zeros((len(found), evidence.num_rows), np.bool_)
    held[number, slate] = True
    return dict(zip(found.to_pylist(), held, strict=True))


def unnested(lists: pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    """The rows that the values of a column of lists belong to, and the values."""
    whole = lists.combine_chunks()
    return pc.list_parent_indices(whole).to_numpy(), pc.list_flatten(whole)
