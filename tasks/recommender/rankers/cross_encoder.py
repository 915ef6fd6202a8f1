"""`cross_encoder`: user and item as one text, and a classification head over its mean hidden state.

    score = zero-shot text match + classifier(text)                     classifier = 0 at first

So a ranker without training ranks exactly as the hybrid's zero-shot score, and training moves it from
there. The match reads the base as published, never the network that is trained.

Source: Nogueira and Cho (2019), Passage re-ranking with BERT, for cross-encoders.

Shapes: N rows, B texts, T tokens, D embedding width.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from tasks.recommender.base import Base, Network
from tasks.recommender.behaviour import NAMES, USER_RATES, user_rates
from tasks.recommender.context import Context
from tasks.recommender.encoder import Encoder
from tasks.recommender.head import Features, zero_shot_score
from tasks.recommender.items import embed_texts
from tasks.recommender.match import fixed_features, match
from tasks.recommender.rankers.network import TextNetwork
from tasks.recommender.rankers.questions import Composer, Lines, Told, tell
from tasks.recommender.rankers.ranker import TextRanker
from tasks.recommender.rankers.reading import Reading
from tasks.recommender.rankers.readout import Classifier, Readout, new_classifier, pool
from tasks.recommender.rankers.tokens import Tokens
from tasks.recommender.recipe import CrossEncoder

LINES = Lines(
    liked="Liked: {titles}.", disliked="Disliked: {titles}.", separator="; ", item="Next: {title}"
)


class Classification:
    """What a cross-encoder reads of rows, and how it scores what its network made of it."""

    ends_in: Network = "encoder"

    def __init__(self, base: Base, settings: CrossEncoder) -> None:
        self.base, self.settings = base, settings
        self.tokens = Tokens(base.tokenizer)
        self._encoder = Encoder(base)
        around = len(self.tokens.before) + len(self.tokens.after)
        self._composer = Composer(LINES, self.tokens, settings.max_tokens - around)

    @property
    def described(self) -> dict[str, Any]:
        """All that decides a text beside base and rows, for digest and storage."""
        return {"settings": asdict(self.settings)}

    def new_readout(self, *, seed: int, dropout: float = 0.0) -> Classifier:
        """A head whose logit is 0."""
        width = int(self.base.config.hidden_size)
        return new_classifier(width, self.settings.output, seed=seed, dropout=dropout)

    def read(self, rows: pa.Table, context: Context) -> Reading:
        """The text of each row, and its text match."""
        told = tell(rows, context, self.tokens, history=self.settings.history)
        _, bodies, of_row = self._composer.compose(told)
        sequences = [[*self.tokens.before, *body, *self.tokens.after] for body in bodies]
        slot = np.zeros(len(sequences), np.int64)
        found = _matches(told, self._encoder, context.embeddings_folder)
        return Reading(told.slates, sequences, slot, 1, of_row, found)

    def logits(
        self,
        network: TextNetwork,
        readout: Readout,
        embeddings_BTD: torch.Tensor,
        mask_BT: torch.Tensor,
        slot_B: torch.Tensor,
    ) -> torch.Tensor:
        """(B,) what the head makes of each text."""
        return readout(_pooled(network, embeddings_BTD, mask_BT))


def pool_texts(ranker: TextRanker, reading: Reading) -> torch.Tensor:
    """(I, W) what the classification head reads of each text, without a graph."""
    return ranker.over_texts(
        reading, lambda embeddings, mask, _: _pooled(ranker.network, embeddings, mask)
    )


def _pooled(
    network: TextNetwork, embeddings_BTD: torch.Tensor, mask_BT: torch.Tensor
) -> torch.Tensor:
    return pool(network.states(embeddings_BTD, mask_BT), mask_BT)


def _matches(told: Told, encoder: Encoder, folder: Path) -> NDArray[np.float32]:
    """(N,) the hybrid's zero-shot score, by the base as published."""
    vectors = torch.from_numpy(embed_texts(told.titles, encoder, folder))
    known = np.array([bool(title) for title in told.titles], np.bool_)
    matches = match(vectors, told.slates, known)
    behaviour = torch.zeros(len(told.slates.slate), len(NAMES))
    for name, rate in zip(USER_RATES, user_rates(told.slates), strict=True):
        behaviour[:, NAMES.index(name)] = torch.from_numpy(rate)
    candidate = torch.from_numpy(told.slates.candidate)
    size = torch.zeros(len(candidate))
    features = Features(matches, fixed_features(matches), behaviour, size, vectors, candidate)
    return zero_shot_score(features).numpy()
