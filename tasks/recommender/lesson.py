"""Shots as a head learns from them."""

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.recommender.context import Context
from tasks.recommender.head import HybridHead
from tasks.recommender.head_fit import set_up
from tasks.recommender.hybrid import HybridRanker, new_head
from tasks.recommender.labelled import Labels, label_rows
from tasks.recommender.labels.pseudo import WEIGHT
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe
from tasks.recommender.unroll import unroll


class Lesson(NamedTuple):
    """A head that has not moved yet, and what may move it."""

    head: HybridHead
    shots: Prepared
    labels: Labels
    rows: pa.Table
    """The shots, and what their histories answered."""


def prepare_lesson(
    start: HybridRanker,
    shots: pa.Table,
    context: Context,
    recipe: Recipe,
    prepared: Prepared | None = None,
) -> Lesson:
    """A copy of the start's head beside the shots; where it is untrained, it is set up on them.

    Args:
        start: what training starts from.
        shots: rows of whole impressions.
        context: catalogue, counts, clicks.
        recipe: the knobs.
        prepared: what `start` makes of the shots, if that is known already.
    """
    if len(answered := unroll(shots)):
        shots, prepared = pa.concat_tables([shots, answered]), None
    head = _trainable_copy(start, recipe)
    if prepared is None:
        prepared = start.prepare(shots, context)
    if start.head.untrained:
        set_up(head, prepared, recipe)
    labels = label_rows(head, prepared, recipe, row_weights(shots))
    return Lesson(head, prepared, labels, shots)


def row_weights(shots: pa.Table) -> Floats:
    """(N,) what each row counts in the loss."""
    if WEIGHT not in shots.column_names:
        return np.ones(len(shots))
    return shots[WEIGHT].cast(pa.float64()).fill_null(1.0).to_numpy()


def _trainable_copy(start: HybridRanker, recipe: Recipe) -> HybridHead:
    """The start's head; an untrained one gets waves by the recipe's seed."""
    if start.head.untrained:
        return new_head(seed=recipe.seed, dropout=recipe.optimization.dropout).to(start.device)
    head = deepcopy(start.head)
    head.dropout.p = recipe.optimization.dropout
    return head
