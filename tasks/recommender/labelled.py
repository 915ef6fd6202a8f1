"""What the shots say: which slates teach something, each row's label, weight and starting logit.

Shapes: N rows, S slates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.recommender.head import HybridHead
from tasks.recommender.level import Level, new_level, no_level
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Objective, Recipe
from tasks.recommender.slates import Slates

Rows = tuple[torch.Tensor, torch.Tensor, int]
"""(N,) rows of a step, (N,) each one's slate within it, and the number of slates."""


@dataclass(frozen=True)
class Labels:
    """What each candidate row says, and how loudly."""

    clicked: torch.Tensor
    """(N,) 1.0 for a click."""
    weight: torch.Tensor
    """(N,) of the row in the loss."""
    start: torch.Tensor | None
    """(N,) logits of the model that training starts from, if the recipe distils from it."""

    def rows(self, index: torch.Tensor) -> "Labels":
        """The labels of some rows."""
        index = index.to(self.clicked.device)
        start = None if self.start is None else self.start[index]
        return Labels(self.clicked[index], self.weight[index], start)


@torch.no_grad()
def label_rows(head: HybridHead, shots: Prepared, recipe: Recipe, weights: Floats) -> Labels:
    """Labels of the shots' rows, with what `head`, where training starts, makes of them.

    Args:
        head: as it is before training.
        shots: the rows.
        recipe: says whether the start's logits are needed.
        weights: (N,) of each row of the table in the loss.
    """
    clicked = _clicked(head, shots)
    weight = torch.from_numpy(weights[shots.slates.order]).to(clicked)
    start = None
    if recipe.regularize.distill:
        level = level_for(head, shots, recipe.objective)
        start = head.eval().rank(shots.features) + level(shots.features)
    return Labels(clicked, weight, start)


def level_for(head: HybridHead, shots: Prepared, objective: Objective) -> Level:
    """A level to train where a candidate is looked at by itself; else one that stays 0."""
    alone = shots.slates.sizes[trainable(shots.slates, objective)] == 1
    if objective.loss != "pointwise" and not alone.any():
        return no_level(head.linear.device)
    return new_level(head, shots.features, _clicked(head, shots))


def trainable(slates: Slates, objective: Objective) -> NDArray[np.int64]:
    """Numbers of the slates that `objective` can learn from.

    Cross-entropy of each candidate learns from every slate, the others from `comparable` ones.
    """
    if objective.loss == "pointwise":
        return np.arange(len(slates.history))
    return comparable(slates)


def comparable(slates: Slates) -> NDArray[np.int64]:
    """Numbers of the slates that hold a click and a skip; or one candidate, if others do as well.

    Slates of one candidate are compared with each other. If all of them were clicked, or none, they
    say nothing: in a log of whole slates, only clicked ones may be that short.
    """
    clicks = np.bincount(slates.slate, slates.label, minlength=len(slates.history))
    ranks = (clicks > 0) & (clicks < slates.sizes)
    alone = slates.sizes == 1
    if len(np.unique(clicks[alone] > 0)) < 2:
        alone = np.zeros_like(alone)
    return np.flatnonzero(ranks | alone)


def slate_steps(
    slates: Slates, per_step: int, rng: np.random.Generator, objective: Objective
) -> Iterator[Rows]:
    """Shuffled slates that teach something: their rows, each row's slate, their number."""
    order = rng.permutation(trainable(slates, objective))
    for start in range(0, len(order), per_step):
        chosen = order[start : start + per_step]
        sizes = slates.sizes[chosen]
        slate = np.repeat(np.arange(len(chosen)), sizes)
        within = np.arange(len(slate)) - (np.cumsum(sizes) - sizes)[slate]
        rows = slates.starts[chosen][slate] + within
        yield torch.from_numpy(rows), torch.from_numpy(slate), len(chosen)


def _clicked(head: HybridHead, shots: Prepared) -> torch.Tensor:
    return torch.from_numpy(shots.slates.label.astype(np.float32)).to(head.linear.device)
