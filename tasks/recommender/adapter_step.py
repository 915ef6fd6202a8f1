"""One step of the phase that trains the network, as GradCache takes it.

The step's distinct items are embedded without a graph; the loss is computed on those vectors as
leaves; what it says of each vector is then pushed through the encoder, a batch at a time.

Shapes: N rows, S slates, I items of the step, K distinct texts of candidates, D embedding width.

Source: Gao et al. (2021), Scaling deep contrastive learning batch size under memory limits.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from tasks.errors import ModelError
from tasks.recommender.draw import Drawn, draw_slates
from tasks.recommender.encoder import Encoder
from tasks.recommender.head import Features, HybridHead
from tasks.recommender.labelled import Labels
from tasks.recommender.learning.optimizer import mixed_precision
from tasks.recommender.learning.step import Affinity
from tasks.recommender.level import Level
from tasks.recommender.prepare import assemble
from tasks.recommender.recipe import Optimization
from tasks.recommender.statistics import Ints
from tasks.recommender.tower import Noise, Tower, push_back


@dataclass(frozen=True)
class AdapterRun:
    """What the phase's steps and their validation stand on."""

    encoder: Encoder
    """With an adapter attached that is being trained."""
    head: HybridHead
    level: Level
    tower: Tower
    """Over the items of shots and validation, the shots' first."""
    shots: Drawn
    validation: Drawn
    texts: Ints
    """Number of the first item of the tower that has the same text; −1 for one without."""
    labels: Labels
    """Of the drawn rows of the shots."""
    behaviour_shots: NDArray[np.float32]
    behaviour_validation: NDArray[np.float32]
    optimization: Optimization

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each item of the tower has a text."""
        return self.texts >= 0

    @torch.no_grad()
    def validation_features(self) -> Features:
        """The drawn validation's features under the adapter as it is now."""
        items = len(self.shots.items) + np.arange(len(self.validation.items))
        vectors = self.tower.embed_all(items)
        slates = self.validation.slates
        return assemble(vectors, slates, self.known[items], self.behaviour_validation)


class AdapterStep:
    """Some of the run's slates, and the network and head that score them."""

    def __init__(self, run: AdapterRun, chosen: Ints, noise: Noise | None = None) -> None:
        """Take some slates whole. `push_back` has to follow the loss's backward pass.

        Args:
            run: what is trained, on what.
            chosen: numbers of slates.
            noise: the dropout under which items are embedded; None drops nothing.
        """
        everything = len(run.shots.slates.slate) + len(run.shots.items)
        self._run = run
        self._drawn = draw_slates(
            run.shots.slates,
            chosen,
            max_items=everything,
            max_history=run.shots.slates.history.shape[1],
            negatives=everything,
            rng=np.random.default_rng(0),
        )
        mine = run.labels.rows(torch.from_numpy(self._drawn.rows))
        self.clicked, self.weight, self.start = mine.clicked, mine.weight, mine.start
        self.slate = torch.from_numpy(self._drawn.slates.slate).to(self.clicked.device)
        self.num_slates = len(chosen)
        self._noise = noise
        self._leaves: list[tuple[torch.Tensor, Ints, Noise | None]] = []

    def inputs(self) -> torch.Tensor:
        """(I, D) vectors of the step's items, as leaves whose gradient `push_back` passes on."""
        return self._embed(self._drawn.items, self._noise)

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N,) logits. A vector that was moved is a direction again before cosines are taken."""
        run, drawn = self._run, self._drawn
        behaviour, known = run.behaviour_shots[drawn.rows], run.known[drawn.items]
        features = assemble(normalize(inputs, dim=-1), drawn.slates, known, behaviour)
        return run.head.rank(features) + run.level(features)

    def affinity(self, inputs: torch.Tensor) -> Affinity:
        """A user is the mean of what the user liked; candidates of one text are one item."""
        slates, texts = self._drawn.slates, self._run.texts[self._drawn.items]
        vectors = normalize(inputs, dim=-1)
        liked = slates.liked & (slates.history >= 0) & (texts[slates.history] >= 0)
        mix_SI = torch.zeros(len(liked), len(vectors), device=vectors.device)
        user, place = np.nonzero(liked)
        mix_SI[torch.from_numpy(user), torch.from_numpy(slates.history[user, place])] = 1.0
        distinct, first, item = np.unique(
            texts[slates.candidate], return_index=True, return_inverse=True
        )
        items = vectors[torch.from_numpy(slates.candidate[first])]
        readable = torch.from_numpy(distinct >= 0).to(vectors).unsqueeze(1)
        users = normalize(mix_SI @ vectors, dim=-1)
        return Affinity(users, items * readable, torch.from_numpy(item).to(vectors.device))

    def views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Twice the step's distinct texts, each under dropout that `push_back` can draw again."""
        texts = np.unique(self._run.texts[self._drawn.items])
        texts = texts[texts >= 0]
        # From the process's generator, which the phase has seeded.
        seeds: list[int] = torch.randint(2**31, (2,)).tolist()
        first, second = (self._embed(texts, Noise(seed, network=True)) for seed in seeds)
        if len(texts) and torch.equal(first, second):
            raise ModelError(
                f"contrast.simcse compares two passes under different dropout, but "
                f"{self._run.encoder.base.name} has none. Set tuning.dropout above 0 (lora), or "
                "contrast.simcse to 0."
            )
        return first, second

    def push_back(self) -> None:
        """Send the gradients at the step's vectors through the encoder, then forget them."""
        for leaf, items, noise in self._leaves:
            if leaf.grad is not None:
                with self._precision():
                    push_back(self._run.tower, items, leaf.grad, noise)
        self._leaves.clear()

    def _embed(self, items: Ints, noise: Noise | None) -> torch.Tensor:
        with self._precision():
            leaf = self._run.tower.embed_all(items, noise).requires_grad_()
        self._leaves.append((leaf, items, noise))
        return leaf

    def _precision(self) -> AbstractContextManager[object]:
        """A context for each pass: autocast keeps copies of weights, with a graph or without."""
        return mixed_precision(self._run.optimization, self._run.encoder.base.device)
