"""One step of training a ranker of texts: whole slates, each distinct text run once.

Shapes: N rows of the step, S slates, I distinct texts, V sequences of a text, T tokens, D embedding
width, W hidden width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from tasks.errors import ModelError
from tasks.recommender.encoder import length_batches
from tasks.recommender.labelled import Rows
from tasks.recommender.learning.step import Affinity
from tasks.recommender.level import Level
from tasks.recommender.rankers.ranker import TextRanker
from tasks.recommender.rankers.reading import Reading
from tasks.recommender.rankers.readout import Classifier
from tasks.recommender.statistics import Ints


@dataclass(frozen=True)
class Shots:
    """What is trained on."""

    reading: Reading
    clicked: torch.Tensor
    """(N,) 1.0 for a click."""
    weight: torch.Tensor
    """(N,) of the row in the loss."""
    start: torch.Tensor | None
    """(N,) logits of the model that training starts from, if the recipe distils from it."""
    level: Level
    """What is added to a ranking score where the objective judges a candidate alone."""


class SlateStep:
    """Some slates of the shots, and their distinct texts."""

    def __init__(self, shots: Shots, rows: Rows) -> None:
        index, slate, self.num_slates = rows
        device = shots.clicked.device
        reading, own = shots.reading, index.numpy()
        index = index.to(device)
        self.slate = slate.to(device)
        self.clicked, self.weight = shots.clicked[index], shots.weight[index]
        self.start = None if shots.start is None else shots.start[index]
        self._match = torch.from_numpy(reading.match[own]).to(device)
        self._log_size = torch.from_numpy(reading.log_size[own]).to(device)
        self._level = shots.level
        self.texts: Ints
        self.texts, of_row = np.unique(reading.text[own], return_inverse=True)
        self._of_row = torch.from_numpy(of_row).to(device)

    def ranked(self, logits_I: torch.Tensor) -> torch.Tensor:
        """(N,) logits of the rows, from those of the texts."""
        level = self._level.constant + self._level.slope * self._log_size
        return logits_I[self._of_row] + self._match + level

    def affinity(self, inputs: torch.Tensor) -> Affinity:
        """Never: user and candidate are one text."""
        raise _no_vectors("contrast.info_nce")

    def views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Never: no item is embedded by itself."""
        raise _no_vectors("contrast.simcse")


class HeadStep(SlateStep):
    """Slates under the classification head; what the network made of their texts is constant."""

    def __init__(
        self, readout: Classifier, pooled_IW: torch.Tensor, shots: Shots, rows: Rows
    ) -> None:
        super().__init__(shots, rows)
        self._readout = readout
        self._pooled = pooled_IW[torch.from_numpy(self.texts).to(pooled_IW.device)]

    def inputs(self) -> torch.Tensor:
        """Nothing: the texts were run once."""
        return torch.empty(0)

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N,) logits; only the head's dropout differs from call to call."""
        return self.ranked(self._readout(self._pooled))


class TextStep(SlateStep):
    """Slates under the network: their inputs are word embeddings."""

    def __init__(
        self, ranker: TextRanker, shots: Shots, rows: Rows, *, inputs_move: bool = False
    ) -> None:
        """Take some slates.

        Args:
            ranker: with a network that is trained.
            shots: to take them from.
            rows: which.
            inputs_move: whether a gradient at the inputs is asked for. It has to pass the frozen
                layers too, so no step takes it for nothing.
        """
        super().__init__(shots, rows)
        self._ranker, self._reading = ranker, shots.reading
        self._inputs_move = inputs_move

    def inputs(self) -> torch.Tensor:
        """(I·V, T, D) word embeddings of the sequences."""
        embeddings = self._ranker.batch(self._reading, self.texts)[0]
        if self._inputs_move and not embeddings.requires_grad:
            embeddings.requires_grad_()
        return embeddings

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N,) logits; a batch of like lengths at a time.

        Only the batches' ends are kept: what lies between is computed again on the way back, so
        memory holds the activations of one batch however many texts a step has.

        Source: Chen et al. (2016), Training deep nets with sublinear memory cost.
        """
        lengths = self._reading.lengths[self.texts] * self._reading.variants
        parts = length_batches(lengths, inputs.device.type)
        logits = torch.cat([self._run(inputs, part, alone=len(parts) == 1) for part in parts])
        back = np.argsort(np.concatenate(parts), kind="stable")
        return self.ranked(logits[torch.from_numpy(back).to(logits.device)])

    def _run(self, inputs: torch.Tensor, part: Ints, *, alone: bool) -> torch.Tensor:
        ranker, texts = self._ranker, self.texts[part]
        numbers = self._reading.numbers(texts)
        places = torch.from_numpy(self._places(part)).to(inputs.device)
        lengths = torch.tensor([len(self._reading.sequences[number]) for number in numbers])
        longest = int(lengths.max())
        mask = (torch.arange(longest) < lengths.unsqueeze(1)).long().to(inputs.device)
        slot = torch.from_numpy(self._reading.slot[numbers]).to(inputs.device)

        def run(embeddings: torch.Tensor) -> torch.Tensor:
            return ranker.task.logits(ranker.network, ranker.readout, embeddings, mask, slot)

        embeddings = inputs[places, :longest]
        if alone or not torch.is_grad_enabled():
            return run(embeddings)
        found: torch.Tensor = checkpoint(run, embeddings, use_reentrant=False)
        return found

    def _places(self, part: Ints) -> Ints:
        """Where the sequences of some of the step's texts lie among its inputs."""
        variants = self._reading.variants
        return (part[:, None] * variants + np.arange(variants)).ravel()


def _no_vectors(term: str) -> ModelError:
    return ModelError(
        f"{term} compares vectors, and a ranker of texts has none of user or item alone. "
        f"Set {term} to 0, or take the hybrid ranker."
    )
