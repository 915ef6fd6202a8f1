"""A ranker of texts: a network with what was trained of it, a task that words rows, and a readout.

Shapes: N rows, I distinct texts, B texts of a batch.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from tasks.recommender.base import Base, Network
from tasks.recommender.context import Context
from tasks.recommender.encoder import length_batches, tensors_digest
from tasks.recommender.rankers.network import TextNetwork
from tasks.recommender.rankers.reading import Reading
from tasks.recommender.rankers.readout import Readout
from tasks.recommender.rankers.tokens import Tokens
from tasks.recommender.recipe import Tuning
from tasks.recommender.selection import State
from tasks.recommender.slates import require_columns, whole_slates
from tasks.recommender.statistics import Ints
from tasks.recommender.tuning.attached import Attached

ROWS_AT_ONCE = 20_000
"""Rows worded and scored at a time: bounds memory."""

Compute = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From word embeddings, mask and slots of B·V sequences to (B, …)."""


class Task(Protocol):
    """What is read of rows, and what a network's answer to it is worth."""

    @property
    def ends_in(self) -> Network:
        """The kind of network."""

    @property
    def base(self) -> Base:
        """The pretrained model."""

    @property
    def tokens(self) -> Tokens:
        """Its tokenizer."""

    @property
    def settings(self) -> Any:
        """The recipe's block of this ranker."""

    @property
    def described(self) -> dict[str, Any]:
        """All that decides a text beside base and rows, for digest and storage."""

    def new_readout(self, *, seed: int, dropout: float = 0.0) -> Readout:
        """A readout before any training."""

    def read(self, rows: pa.Table, context: Context) -> Reading:
        """The texts of `rows`."""

    def logits(
        self,
        network: TextNetwork,
        readout: Readout,
        embeddings_BTD: torch.Tensor,
        mask_BT: torch.Tensor,
        slot_B: torch.Tensor,
    ) -> torch.Tensor:
        """(B / V,) logit of each text, from its V sequences' word embeddings."""


@dataclass(frozen=True)
class Weights:
    """What was trained of a network, by name, and by which method."""

    tuning: Tuning
    state: State


class TextRanker:
    """Scores candidates by what a network makes of texts about them."""

    def __init__(self, task: Task, readout: Readout, weights: Weights | None = None) -> None:
        """Put the parts together; the network is loaded when something is scored.

        Raises:
            ModelError: the network cannot read as many tokens as the task may write.
        """
        self.task = task
        self.weights = weights
        self.readout = readout.to(task.base.device).eval()
        self.network = TextNetwork(task.base, task.ends_in)
        self.network.require_room(task.settings.max_tokens)
        self._placed = weights is None

    @property
    def base(self) -> Base:
        """The pretrained model."""
        return self.task.base

    @property
    def digest(self) -> str:
        """Names base, precision, wording, what was trained, and the calibration."""
        trained = "plain" if self.weights is None else tensors_digest(self.weights.state)
        parts = [
            type(self.task).__name__,
            self.base.sha256,
            self.base.precision,
            json.dumps(self.task.described, sort_keys=True),
            repr(None if self.weights is None else self.weights.tuning),
            trained,
            tensors_digest(self.readout.state_dict()),
        ]
        return sha256("\n".join(parts).encode()).hexdigest()

    def read(self, rows: pa.Table, context: Context) -> Reading:
        """The texts of `rows`, which need columns as `score` does."""
        require_columns(rows)
        return self.task.read(rows, context)

    def probabilities(self, rows: pa.Table, context: Context) -> NDArray[np.float64]:
        """(N,) click probabilities in the order of `rows`."""
        require_columns(rows)
        found = np.empty(len(rows))
        for part in whole_slates(rows["impression_id"], ROWS_AT_ONCE):
            reading = self.read(rows.take(pa.array(part)), context)
            score = torch.from_numpy(self.rank(reading)).to(self.readout.slope.device)
            log_size = torch.from_numpy(reading.log_size).to(score.device)
            with torch.inference_mode():
                probability = self.readout.log_odds(score, log_size).sigmoid()
            found[part[reading.slates.order]] = probability.cpu().numpy()
        return found

    def rank(self, reading: Reading) -> NDArray[np.float64]:
        """(N,) what the candidates are ranked by, in the order of the reading's slates."""
        self.readout.eval()
        logits = self.over_texts(
            reading,
            lambda embeddings, mask, slot: self.task.logits(
                self.network, self.readout, embeddings, mask, slot
            ),
        )
        return logits.double().cpu().numpy()[reading.text] + reading.match

    @torch.no_grad()
    def over_texts(self, reading: Reading, compute: Compute) -> torch.Tensor:
        """(I, …) what `compute` makes of each text, in batches of like length."""
        self.place()
        parts = length_batches(reading.lengths * reading.variants, self.base.device)
        found = torch.cat([compute(*self.batch(reading, texts)) for texts in parts])
        back = np.argsort(np.concatenate(parts), kind="stable")
        return found[torch.from_numpy(back).to(found.device)]

    def batch(
        self, reading: Reading, texts: Ints
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Word embeddings, mask and slots of some texts' sequences, padded to the longest."""
        numbers = reading.numbers(texts)
        sequences = [reading.sequences[number] for number in numbers]
        ids, mask = self.network.pad(sequences, self.task.tokens.filler)
        slot = torch.from_numpy(reading.slot[numbers]).to(ids.device)
        return self.network.embed(ids), mask, slot

    def place(self) -> None:
        """Put what was trained on the network, if it is not there yet."""
        if self._placed:
            return
        assert self.weights is not None
        self.network.attach(self.weights.tuning, seed=0).fill(self.weights.state)
        self.network.network.requires_grad_(requires_grad=False)
        self._placed = True

    def train_network(self, tuning: Tuning, seed: int, start_tokens: Sequence[int]) -> Attached:
        """Put a method on the network to be trained, from the weights that there are.

        From here on the network is what training makes of it, and `weights` are not looked at.
        """
        self.network.detach()
        attached = self.network.attach(tuning, seed=seed, start_tokens=start_tokens)
        if self.weights is not None:
            attached.fill(self.weights.state)
        self._placed = True
        return attached
