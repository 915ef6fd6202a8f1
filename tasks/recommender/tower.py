"""The part of the encoder that learns, over hidden states of the frozen layers computed once.

Shapes: I items, B items of a batch, T tokens, W hidden width, D embedding width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.recommender.encoder import Encoder, length_batches, pad, pool

STACKED = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
"""Architectures whose layers take hidden states and a mask alone, so that a run can start midway."""


@dataclass(frozen=True)
class Noise:
    """Dropout of one pass, which a second pass can repeat."""

    seed: int
    """Of what is dropped: equal seeds drop the same where the rows are the same."""
    network: bool = False
    """Whether the layers that are run drop what they did in pretraining, besides the adapter's own."""


class Tower:
    """Embeds items by number, with a graph through what is trained if one is asked for.

    Layers below the lowest that is trained are run once, when the tower is made. Prefix and prompts
    reach down to the first layer; full tuning changes the embeddings, so nothing is kept there.
    """

    def __init__(self, encoder: Encoder, texts: list[str]) -> None:
        self._encoder = encoder
        self._tokens = encoder.tokenize(texts)
        self._lengths = np.array([len(ids) for ids in self._tokens], np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._hidden: torch.Tensor | None = None
        network, lowest = encoder.network, encoder.lowest
        if network.config.model_type in STACKED and lowest is not None:
            layers = list(network.encoder.layer)
            self._top = layers[lowest:]
            self._hidden = self._run_frozen(network, layers[:lowest])

    @torch.no_grad()
    def _run_frozen(self, network: Any, layers: list[Any]) -> torch.Tensor:
        """Hidden states below the adapted layers, (sum of T, W), item after item without padding."""
        hidden = torch.empty(
            (int(self._lengths.sum()), network.config.hidden_size),
            dtype=self._encoder.base.dtype,
            device=self._encoder.base.device,
        )
        for rows in length_batches(self._lengths, self._encoder.base.device):
            ids, mask = pad([self._tokens[row] for row in rows], self._encoder.base)
            states = _embedded(network, ids)
            for layer in layers:
                states = layer(states, _additive(mask, states.dtype))
            hidden[self._places(rows)[mask.bool().cpu()].to(hidden.device)] = states[mask.bool()]
        return hidden

    def _places(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(B, T) where each token's hidden state lies; the first token's where there is none."""
        within = np.arange(self._lengths[rows].max())
        real = within < self._lengths[rows][:, None]
        return torch.from_numpy(self._starts[rows][:, None] + within * real)

    def embed(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(B, D) unit vectors of some items, padded to the longest of them."""
        network = self._encoder.network
        if self._hidden is None:
            ids, mask = pad([self._tokens[row] for row in rows], self._encoder.base)
            return pool(network(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
        states = self._hidden[self._places(rows).to(self._hidden.device)]
        real = np.arange(states.shape[1]) < self._lengths[rows][:, None]
        mask = torch.from_numpy(real).long().to(states.device)
        for layer in self._top:
            states = layer(states, _additive(mask, states.dtype))
        return pool(states, mask)

    @torch.no_grad()
    def embed_all(self, rows: NDArray[np.int64], noise: Noise | None = None) -> torch.Tensor:
        """(B, D) vectors without a graph, in batches of like length; with dropout if `noise` says."""
        parts = self.batches(rows)
        with self.dropping(noise):
            found = torch.cat([self.embed(rows[part]) for part in parts])
        back = np.argsort(np.concatenate(parts), kind="stable")
        return found[torch.from_numpy(back).to(found.device)]

    @contextmanager
    def dropping(self, noise: Noise | None) -> Iterator[None]:
        """Within it, dropout is on, and drawn from `noise.seed` on; without noise, nothing drops."""
        if noise is None:
            yield
            return
        inside = self._top if self._hidden is not None else [self._encoder.network]
        with torch.random.fork_rng():
            torch.manual_seed(noise.seed)
            for module in inside if noise.network else ():
                module.train()
            self._encoder.drop(on=True)
            try:
                yield
            finally:
                self._encoder.drop(on=False)
                self._encoder.network.eval()

    def batches(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Places in `rows`, cut into batches of like length."""
        return length_batches(self._lengths[rows], self._encoder.base.device)


def push_back(
    tower: Tower,
    rows: NDArray[np.int64],
    gradient_BD: torch.Tensor,
    noise: Noise | None = None,
) -> None:
    """Send the gradient at the embeddings of `rows` through the encoder, a batch at a time.

    The second half of GradCache: what the loss said of each embedding is a constant now, so the
    graph of one batch of items is all that memory has to hold. `noise` is what the rows were embedded
    with: it drops the same again.

    Source: Gao et al. (2021), Scaling deep contrastive learning batch size under memory limits.
    """
    with tower.dropping(noise):
        for part in tower.batches(rows):
            place = torch.from_numpy(part).to(gradient_BD.device)
            (tower.embed(rows[part]) * gradient_BD[place]).sum().backward()


def _embedded(network: Any, ids: torch.Tensor) -> torch.Tensor:
    """(B, T, W) what the first layer reads."""
    states: torch.Tensor = network.embeddings(input_ids=ids)
    # ELECTRA's embeddings may be narrower than its layers.
    wide = getattr(network, "embeddings_project", None)
    return states if wide is None else wide(states)


def _additive(mask_BT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(B, 1, 1, T): 0 where there is a token, the lowest number where there is none."""
    hidden = (1 - mask_BT[:, None, None, :]).to(dtype)
    return hidden * torch.finfo(dtype).min
