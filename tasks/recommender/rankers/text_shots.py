"""What a ranker of texts is trained and measured on: few enough rows that its time is bounded.

Shapes: N rows.
"""

import numpy as np
import pyarrow as pa
import torch

from tasks.recommender.draw import draw_slates
from tasks.recommender.labelled import comparable, trainable
from tasks.recommender.lesson import row_weights
from tasks.recommender.rankers.ranker import TextRanker
from tasks.recommender.rankers.reading import Reading
from tasks.recommender.rankers.text_step import Shots
from tasks.recommender.rankers.text_training import level_of
from tasks.recommender.recipe import Recipe
from tasks.recommender.slates import Slates, group_rows
from tasks.recommender.statistics import Ints


def bounded_shots(rows: pa.Table, recipe: Recipe) -> pa.Table:
    """The newest `adapter_slates` impressions that teach something, with `adapter_negatives` skips."""
    if not len(rows):
        return rows
    slates = group_rows(rows, None)
    drawn = draw_slates(
        slates,
        _newest(slates, trainable(slates, recipe.objective))[: recipe.adapter_slates],
        max_items=len(slates.items),
        max_history=1,
        negatives=recipe.adapter_negatives,
        rng=np.random.default_rng(recipe.seed),
    )
    return rows.take(pa.array(np.sort(slates.order[drawn.rows])))


def bounded_validation(rows: pa.Table, recipe: Recipe) -> pa.Table:
    """The newest impressions that rank something, whole, of about as many rows as are trained on."""
    if not len(rows):
        return rows
    slates = group_rows(rows, None)
    newest = _newest(slates, comparable(slates))
    room = recipe.adapter_slates * (recipe.adapter_negatives + 1)
    chosen = newest[: max(1, int((slates.sizes[newest].cumsum() <= room).sum()))]
    kept = np.isin(slates.slate, chosen)
    return rows.take(pa.array(np.sort(slates.order[kept])))


def label_texts(ranker: TextRanker, reading: Reading, rows: pa.Table, recipe: Recipe) -> Shots:
    """The shots' labels, with what `ranker`, where training starts, makes of them.

    A level is trained where a candidate is looked at by itself.
    """
    slates, device = reading.slates, ranker.readout.slope.device
    clicked = torch.from_numpy(slates.label.astype(np.float32)).to(device)
    alone = slates.sizes[trainable(slates, recipe.objective)] == 1
    levelled = recipe.objective.loss == "pointwise" or bool(alone.any())
    score = torch.zeros_like(clicked)
    if levelled or recipe.regularize.distill:
        score = torch.from_numpy(ranker.rank(reading)).to(score)
    level = level_of(clicked, score, trained=levelled)
    log_size = torch.from_numpy(reading.log_size).to(device)
    start = (score + level.constant + level.slope * log_size).detach()
    weight = torch.from_numpy(row_weights(rows)[slates.order]).to(clicked)
    return Shots(reading, clicked, weight, start if recipe.regularize.distill else None, level)


def _newest(slates: Slates, chosen: Ints) -> Ints:
    return chosen[np.argsort(-slates.hour[slates.starts[chosen]], kind="stable")]
