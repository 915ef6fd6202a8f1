"""One step of training, as the terms of the loss see it: something that can be scored, and again.

Shapes: N candidate rows of the step, S slates, I distinct inputs, K distinct candidate items, D width
of a vector.
"""

from typing import NamedTuple, Protocol

import torch


class Affinity(NamedTuple):
    """Users and candidates as vectors of one space."""

    users: torch.Tensor
    """(S, D) of length 1; zeros for a user of whom nothing can be read."""
    items: torch.Tensor
    """(K, D) of length 1; each item that is a candidate of the step, once."""
    item: torch.Tensor
    """(N,) place in `items` of each row's candidate."""


class Step(Protocol):
    """Some slates, and the model that scores them."""

    clicked: torch.Tensor
    """(N,) 1.0 for a click."""
    slate: torch.Tensor
    """(N,) number of each row's slate within the step, ascending."""
    num_slates: int
    weight: torch.Tensor
    """(N,) of each row in the loss: ones, or inverse propensities."""
    start: torch.Tensor | None
    """(N,) logits of the model that training started from; None where nobody asks for them."""

    def inputs(self) -> torch.Tensor:
        """(I, D) or (I, T, D) vectors that the scores are computed from, with a graph.

        Item vectors for `hybrid`, word embeddings for a ranker of texts. A step whose scores have no
        such inputs (a head over features computed once) returns an empty tensor, and its recipe has
        no term that needs them.
        """

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N,) logits, differentiable in `inputs` and the trained weights. Dropout is drawn anew."""

    def affinity(self, inputs: torch.Tensor) -> Affinity:
        """Users and candidates as vectors, differentiable in `inputs`.

        Raises:
            ModelError: the ranker has no separate vectors of user and item.
        """

    def views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Twice (I, D) vectors of length 1 of the step's texts, each under its own dropout.

        Raises:
            ModelError: the ranker embeds no texts, or its network has no dropout.
        """


# The loss of a step is one call: `step_loss(step, recipe)` in `learning/loss.py`.
