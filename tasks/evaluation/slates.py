"""Rows grouped into slates, and each slate's rows grouped into runs of equal score.

Every metric here is a sum over tie runs, so that none of them depends on the order of the rows.

Shapes: N rows, S slates, T tie runs.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from tasks.errors import EvaluationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Column: TypeAlias = ArrayLike | pa.Array | pa.ChunkedArray
"""A column of N values: a numpy or Arrow array, or a sequence."""


def factorise(ids: Column, name: str) -> tuple[Ints, pa.Array]:
    """Number the distinct `ids` in their sorted order, whatever the order of the rows.

    Returns:
        (N,) the number of each row's id, and the distinct ids by number.

    Raises:
        EvaluationError: an id is null; `name` says which column.
    """
    array = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count:
        raise EvaluationError(
            f"{array.null_count:,} of {len(array):,} rows have no {name}, and a row without it "
            "belongs nowhere. Quarantine such rows before they are scored."
        )
    encoded = array if isinstance(array.type, pa.DictionaryType) else array.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return number[encoded.indices.to_numpy()], encoded.dictionary.take(order)


def sum_by(group: Ints, values: np.ndarray, num_groups: int) -> Floats:
    """(num_groups,) sum of the `values` in each group."""
    return np.bincount(group, values, minlength=num_groups).astype(np.float64)


@dataclass(frozen=True)
class Slates:
    """Which slate each row was shown in, and what was clicked."""

    slate: Ints
    """(N,) number of the row's slate, from 0."""
    clicked: Bools
    """(N,) whether the row's candidate was clicked."""
    ids: pa.Array
    """(S,) the slates' impression ids, sorted."""

    @cached_property
    def rows(self) -> Ints:
        """(S,) candidates in each slate."""
        return np.bincount(self.slate)

    @cached_property
    def clicks(self) -> Ints:
        """(S,) clicked candidates in each slate."""
        return np.bincount(self.slate[self.clicked], minlength=len(self.rows))

    @cached_property
    def ranks(self) -> Bools:
        """(S,) whether the slate holds both a click and a skip, so that order means something."""
        return (self.clicks > 0) & (self.clicks < self.rows)

    def require_ranking(self) -> None:
        """Raise EvaluationError unless some slate holds both a click and a skip."""
        if not self.ranks.any():
            raise EvaluationError(
                f"AUC is undefined: none of the {len(self.ranks):,} slates holds both a click and "
                "a skip. Widen the holdout or check the click join."
            )


def group_slates(clicked: Column, impression_ids: Column) -> Slates:
    """The slates of N rows; raises EvaluationError for no rows or labels other than 0 and 1."""
    slate, ids = factorise(impression_ids, "impression_id")
    flags = check_clicked(clicked)
    if len(flags) != len(slate):
        raise EvaluationError(
            f"{len(flags):,} labels and {len(slate):,} impression ids are not the same rows. "
            "Pass columns of one table."
        )
    return Slates(slate, flags, ids)


def pool(clicked: Column) -> Slates:
    """All rows as one slate."""
    flags = check_clicked(clicked)
    return Slates(np.zeros(len(flags), np.int64), flags, pa.array(["all rows"]))


def check_clicked(clicked: Column) -> Bools:
    """The labels as booleans; raises EvaluationError for no rows or labels other than 0 and 1."""
    values: np.ndarray = np.asarray(clicked)
    if values.size == 0:
        raise EvaluationError("There are no rows to judge. Widen the holdout or check the day.")
    if values.dtype != np.bool_ and not np.isin(values, (0, 1)).all():
        odd = values[~np.isin(values, (0, 1))][0]
        raise EvaluationError(
            f"A label is {odd!r}, and only 0 (skipped) and 1 (clicked) can be judged. "
            "Map the log's labels, or quarantine the row."
        )
    return values.astype(np.bool_)


def check_scores(scores: Column, num_rows: int) -> Floats:
    """The scores as floats; raises EvaluationError unless all `num_rows` are there and finite."""
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (num_rows,):
        raise EvaluationError(
            f"Scores of shape {values.shape} do not fit {num_rows:,} rows. Give each row one score."
        )
    broken = int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        raise EvaluationError(
            f"{broken:,} of {num_rows:,} scores are NaN or infinite, and cannot be ranked. "
            "Look for a diverged fine-tuning or an item without an embedding."
        )
    return values


@dataclass(frozen=True)
class TieRuns:
    """Rows of one slate with one score, best score first within each slate."""

    slate: Ints
    """(T,) number of the run's slate."""
    above: Ints
    """(T,) rows of the slate that score higher."""
    length: Ints
    """(T,) rows in the run."""
    clicks: Ints
    """(T,) clicked rows in the run."""
    clicks_above: Ints
    """(T,) clicked rows of the slate that score higher."""
    order: Ints
    """(N,) rows sorted by slate, then from the highest score down."""


def tie_runs(scores: Floats, slates: Slates) -> TieRuns:
    """Sort the rows within their slates and find the runs of equal score."""
    if len(slates.rows) == 1:
        order = np.argsort(-scores, kind="stable")
    else:
        order = np.lexsort((-scores, slates.slate))
    slate, score = slates.slate[order], scores[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (slate[1:] != slate[:-1]) | (score[1:] != score[:-1])
    start = np.flatnonzero(first)
    length = np.diff(start, append=len(order))
    clicks = np.add.reduceat(slates.clicked[order].astype(np.int64), start)
    of_slate = slate[start]
    rows_before = np.cumsum(slates.rows) - slates.rows
    clicks_before = np.cumsum(slates.clicks) - slates.clicks
    return TieRuns(
        slate=of_slate,
        above=start - rows_before[of_slate],
        length=length,
        clicks=clicks,
        clicks_above=np.cumsum(clicks) - clicks - clicks_before[of_slate],
        order=order,
    )
