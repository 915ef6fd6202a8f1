"""Which impressions are shots, which stop the training early, and which judge: always by time.

A shot is one labelled impression, as a whole; `shots` counts them in total, as in TALLRec.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.labels.evidence import Evidence, probabilities_of
from tasks.recommender.labels.impressions import count_impressions, impression_times
from tasks.recommender.labels.negatives import keep_negatives
from tasks.recommender.labels.policies import choose, replayed
from tasks.recommender.recipe import Selection

__all__ = ["Split", "count_impressions", "impression_times", "select_shots", "split_by_time"]

NEWEST = Selection()
NOTHING = Evidence()


@dataclass(frozen=True)
class Split:
    """Rows of one window, cut at two moments: each part is later than the one before."""

    shots: pa.Table
    validation: pa.Table
    holdout: pa.Table


def split_by_time(rows: pa.Table, *, validation_share: float, holdout_share: float) -> Split:
    """Cut whole impressions by time: shots, then validation, then holdout.

    Impressions of the same microsecond stay on one side, so a part may be a little larger or
    smaller than its share. An impression's time is that of its first row.

    Args:
        rows: with event_time, impression_id; any order, which each part keeps.
        validation_share: of the impressions; those just before the holdout.
        holdout_share: of the impressions; the latest ones.

    Raises:
        ModelError: the impressions lie at too few moments to leave shots before the rest.
    """
    slate, time = impression_times(rows)
    ordered = np.sort(time)
    num = len(ordered)
    cuts = [
        _moment(ordered, num - round(num * (validation_share + holdout_share))),
        _moment(ordered, num - round(num * holdout_share)),
    ]
    part = np.searchsorted(np.array(cuts), time, side="right")[slate]
    if num and not (part == 0).any():
        raise ModelError(
            f"{num:,} impressions leave no shots before validation and holdout. "
            "Lower `finetune.validation_share` or `promote.holdout_share`, or wait for more rows."
        )
    shots, validation, holdout = (rows.filter(pa.array(part == place)) for place in range(3))
    return Split(shots, validation, holdout)


def select_shots(
    recent: pa.Table,
    replay: pa.Table,
    *,
    shots: int,
    replay_share: float,
    seed: int,
    selection: Selection = NEWEST,
    evidence: Evidence = NOTHING,
) -> pa.Table:
    """The rows of at most `shots` impressions: some of `recent`, and a sample of `replay`.

    The choice does not hang on the order of the rows.

    Args:
        recent: the newest day's rows that may be trained on.
        replay: rows of the days before, so that what they taught is not forgotten.
        shots: impressions in total. What one side lacks, the other gives.
        replay_share: of the shots, from `replay`.
        seed: of all that is drawn.
        selection: which of `recent`, which of `replay`, and which of their skips.
        evidence: what `selection` asks for beside the rows.

    Returns:
        Rows of both, replay first. Impressions are whole, less the skips that `selection.negatives`
        leaves out.

    Raises:
        ModelError: `selection` asks for evidence that is not there.
    """
    num_recent, num_replay = count_impressions(recent), count_impressions(replay)
    from_replay = min(num_replay, max(round(shots * replay_share), shots - num_recent))
    from_recent = min(num_recent, shots - from_replay)
    if selection.replay == "herding":
        old = replayed(replay, from_replay, evidence)
    else:
        old = choose(replay, from_replay, "random", evidence, seed)
    fresh = choose(recent, from_recent, selection.policy, evidence, seed)
    chosen = pa.concat_tables([old, fresh], promote_options="permissive")
    if not selection.negatives:
        return chosen
    hard = selection.hardness > 0
    return keep_negatives(
        chosen,
        probabilities_of(chosen, evidence, "hardness") if hard else None,
        negatives=selection.negatives,
        hardness=selection.hardness,
        seed=seed,
    )


def _moment(ordered: NDArray[np.int64], place: int) -> int:
    """The first moment of the later part: never inside a group of equal times."""
    return int(ordered[place]) if place < len(ordered) else np.iinfo(np.int64).max
