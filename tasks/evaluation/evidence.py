"""What one day's impressions say of two models: small enough to keep, whole enough to decide by.

A contest over many days is a contest over these rows. Nothing is scored twice, and every question of
the gate (gain, slices, fairness, calibration) is a mean over rows, with users as independent pieces.

Shapes: N candidate rows, S slates, G groups.
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pyarrow as pa

from tasks.errors import EvaluationError
from tasks.evaluation.clusters import user_by_slate
from tasks.evaluation.debiased import debiased_auc_by_slate
from tasks.evaluation.item_gains import ITEM_GAIN, gains_by_item
from tasks.evaluation.metrics import check_probabilities, losses, slate_aucs
from tasks.evaluation.slates import (
    Bools,
    Column,
    Floats,
    Slates,
    TieRuns,
    factorise,
    group_slates,
    sum_by,
    tie_runs,
)

EXPOSURE = pa.struct(
    [
        pa.field("group", pa.string(), nullable=False),
        pa.field("champion", pa.float64(), nullable=False),
        pa.field("challenger", pa.float64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("clicked", pa.bool_(), nullable=False),
    ]
)
"""One group's part of a slate: its items' share of discounted exposure, 1/log2(1 + rank), under each
model; its share of the candidates; whether one of its items was clicked."""

EVIDENCE = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("champion_auc", pa.float64()),
        pa.field("challenger_auc", pa.float64()),
        pa.field("champion_loss", pa.float64(), nullable=False),
        pa.field("challenger_loss", pa.float64(), nullable=False),
        pa.field("champion_expected", pa.float64(), nullable=False),
        pa.field("challenger_expected", pa.float64(), nullable=False),
        pa.field("clicks", pa.int32(), nullable=False),
        pa.field("candidates", pa.int32(), nullable=False),
        pa.field("items", pa.list_(pa.field("item", ITEM_GAIN))),
        pa.field("slices", pa.list_(pa.field("item", pa.string())), nullable=False),
        pa.field("exposure", pa.list_(pa.field("item", EXPOSURE)), nullable=False),
    ]
)
"""One row is one impression. AUC is null where a slate ranks nothing; loss is the mean log loss of the
candidates in nats; expected is the sum of their click probabilities; items tell what each candidate adds
to the gain, null where AUC is; slices are those that one of its clicked candidates is in; exposure has the
groups that one of its candidates is in."""


def collect(
    champion_scores: Column,
    challenger_scores: Column,
    rows: pa.Table,
    members: Mapping[str, Bools],
    groups: Mapping[str, Bools],
    day: date,
    *,
    examined: Column | None = None,
) -> pa.Table:
    """EVIDENCE of one day, one row an impression in the order of their ids.

    Args:
        champion_scores: (N,) click probabilities of the incumbent.
        challenger_scores: (N,) click probabilities of the candidate for its place.
        rows: N candidates with label, impression_id, user_id and item_id.
        members: (N,) membership of the rows, by the slice's name. A slate belongs to a slice when one
            of its clicked rows does: a slice of items is about finding those items.
        groups: (N,) membership of the rows, by the name of the group whose AUC and exposure are to
            stay fair. A tie of scores shares the exposure of the ranks that it spans.
        day: of the impressions.
        examined: (N,) how much each row's position is looked at. With it the AUC columns are what the
            slate adds to `debiased_impression_auc`, and none of them is null.

    Raises:
        EvaluationError: a score is not a probability, a slate belongs to two users, or a membership
            does not fit the rows.
    """
    slates = group_slates(rows["label"], rows["impression_id"])
    old, new = (
        check_probabilities(scores, rows.num_rows)
        for scores in (champion_scores, challenger_scores)
    )
    _check_members({**members, **groups}, rows.num_rows)
    _, names = factorise(rows["user_id"], "user_id")
    users = names.take(pa.array(user_by_slate(slates, rows["user_id"])))
    old_runs, new_runs = tie_runs(old, slates), tie_runs(new, slates)
    columns = {
        "day": pa.array([day], pa.date32()).take(pa.array(np.zeros(len(slates.rows), np.int8))),
        "impression_id": slates.ids.cast(pa.string()),
        "user_id": users.cast(pa.string()),
        "champion_auc": _auc(old, old_runs, slates, examined),
        "challenger_auc": _auc(new, new_runs, slates, examined),
        "champion_loss": _loss(old, slates),
        "challenger_loss": _loss(new, slates),
        "champion_expected": sum_by(slates.slate, old, len(slates.rows)),
        "challenger_expected": sum_by(slates.slate, new, len(slates.rows)),
        "clicks": slates.clicks.astype(np.int32),
        "candidates": slates.rows.astype(np.int32),
        "items": gains_by_item(old_runs, new_runs, slates, rows["item_id"], examined=examined),
        "slices": _slices(members, slates),
        "exposure": _exposure(old_runs, new_runs, groups, slates),
    }
    return pa.table(columns, schema=EVIDENCE)


def _auc(scores: Floats, runs: TieRuns, slates: Slates, examined: Column | None) -> pa.Array:
    """(S,) the slate's AUC, null where nothing ranks."""
    if examined is not None:
        return pa.array(debiased_auc_by_slate(scores, slates, examined))
    return pa.array(slate_aucs(runs, slates), mask=~slates.ranks)


def _loss(scores: Floats, slates: Slates) -> Floats:
    num = len(slates.rows)
    return sum_by(slates.slate, losses(scores, slates.clicked), num) / slates.rows


def _slices(members: Mapping[str, Bools], slates: Slates) -> pa.ListArray:
    """(S,) names of the slices that one of the slate's clicked rows is in."""
    held = np.zeros((len(slates.rows), len(members)), np.bool_)
    for number, member in enumerate(members.values()):
        held[slates.slate[slates.clicked & member], number] = True
    offsets, _, column = _cells(held)
    names = pa.array(list(members), pa.string()).take(pa.array(column))
    return pa.ListArray.from_arrays(offsets, names)


def _exposure(
    old: TieRuns, new: TieRuns, groups: Mapping[str, Bools], slates: Slates
) -> pa.ListArray:
    """(S,) EXPOSURE of each group that has a candidate in the slate."""
    num = len(slates.rows)
    champion, challenger = (exposure_by_row(runs, slates) for runs in (old, new))
    ones = np.ones(len(slates.slate))
    sums = np.zeros((4, num, len(groups)))
    for number, member in enumerate(groups.values()):
        slate = slates.slate[member]
        for part, values in enumerate((champion, challenger, ones, slates.clicked)):
            sums[part, :, number] = sum_by(slate, values[member], num)
    offsets, slate, group = _cells(sums[2] > 0)
    old_share, new_share, candidates, clicks = sums[:, slate, group]
    fields = [
        pa.array(list(groups), pa.string()).take(pa.array(group)),
        pa.array(old_share),
        pa.array(new_share),
        pa.array(candidates / slates.rows[slate]),
        pa.array(clicks > 0),
    ]
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays(fields, fields=list(EXPOSURE))
    )


def exposure_by_row(runs: TieRuns, slates: Slates) -> Floats:
    """(N,) each row's share of its slate's exposure: 1/log2(1 + rank) over the slate's sum.

    Tied rows share the exposure of the ranks that they span. The shares of a slate sum to 1.

    Source: the discount of Järvelin & Kekäläinen (2002) as exposure: Singh & Joachims (KDD 2018).
    """
    total = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, slates.rows.max() + 2)))])
    spanned = (total[runs.above + runs.length] - total[runs.above]) / runs.length
    share = np.empty(len(runs.order))
    share[runs.order] = np.repeat(spanned / total[slates.rows[runs.slate]], runs.length)
    return share


def _cells(held: Bools) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Offsets of a list array with the true cells of each row, and their rows and columns."""
    ends = np.cumsum(held.sum(axis=1))
    row, column = np.nonzero(held)
    return pa.array(np.concatenate([[0], ends]).astype(np.int32)), row, column


def _check_members(members: Mapping[str, Bools], num_rows: int) -> None:
    for name, member in members.items():
        if np.shape(member) != (num_rows,) or np.asarray(member).dtype != np.bool_:
            raise EvaluationError(
                f"The membership of {name!r} is {np.asarray(member).dtype} of shape "
                f"{np.shape(member)}, and {num_rows:,} rows need one yes or no each. "
                "Make it from the same table as the scores."
            )
