"""Which impressions are shots, which stop the training early, and which judge: always by time.

A shot is one labelled impression, as a whole; `shots` counts them in total, as in TALLRec.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import ModelError


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
    recent: pa.Table, replay: pa.Table, *, shots: int, replay_share: float, seed: int
) -> pa.Table:
    """The rows of at most `shots` impressions: the latest of `recent`, and a sample of `replay`.

    Args:
        recent: the newest day's rows that may be trained on.
        replay: rows of the days before, so that what they taught is not forgotten.
        shots: impressions in total. What one side lacks, the other gives.
        replay_share: of the shots, from `replay`.
        seed: of the sample.

    Returns:
        Rows of both, replay first; each impression whole.
    """
    num_recent, num_replay = count_impressions(recent), count_impressions(replay)
    from_replay = min(num_replay, max(round(shots * replay_share), shots - num_recent))
    from_recent = min(num_recent, shots - from_replay)
    return pa.concat_tables(
        [_sample(replay, from_replay, seed), _latest(recent, from_recent)],
        promote_options="permissive",
    )


def count_impressions(rows: pa.Table) -> int:
    """How many impressions the rows show."""
    return int(pc.count_distinct(rows["impression_id"]).as_py())


def impression_times(rows: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) number of each row's impression, and (S,) the time of each in microseconds."""
    slate = pc.dictionary_encode(rows["impression_id"]).combine_chunks().indices.to_numpy()
    time = np.full(int(slate.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(time, slate, pc.cast(rows["event_time"], pa.int64()).to_numpy())
    return slate.astype(np.int64), time


def _moment(ordered: NDArray[np.int64], place: int) -> int:
    """The first moment of the later part: never inside a group of equal times."""
    return int(ordered[place]) if place < len(ordered) else np.iinfo(np.int64).max


def _latest(rows: pa.Table, num: int) -> pa.Table:
    slate, time = impression_times(rows)
    newest = np.argsort(time, kind="stable")[len(time) - num :]
    return rows.filter(pa.array(np.isin(slate, newest)))


def _sample(rows: pa.Table, num: int, seed: int) -> pa.Table:
    slate, time = impression_times(rows)
    # Numbered by time and id, so that the sample does not hang on the order of the rows.
    ids = pc.dictionary_encode(rows["impression_id"]).combine_chunks().dictionary
    stable = np.lexsort((pc.rank(ids).to_numpy(), time)) if len(ids) else np.empty(0, np.int64)
    drawn = np.random.default_rng(seed).permutation(len(stable))[:num]
    return rows.filter(pa.array(np.isin(slate, stable[drawn])))
