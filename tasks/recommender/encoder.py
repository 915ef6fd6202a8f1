"""Texts to unit vectors, by the base encoder with or without a trained adapter.

An adapter is whatever the recipe's `tuning` trains of the network, be it all of its weights.

Mean over tokens, then length 1, as sentence-transformers does for MiniLM.

Shapes: B texts, T tokens, D embedding width.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.base import Base
from tasks.recommender.recipe import HeadOnly, Tuning
from tasks.recommender.tuning.attach import attach
from tasks.recommender.tuning.attached import Attached

MAX_TOKENS = 64
"""A title has about 15; what follows the 64th token of a longer text is not read."""
TOKENS_A_BATCH = 1024
"""Padded tokens encoded at once: small enough for the processor's cache."""
TOKENS_A_BATCH_GPU = 16_384
"""The same on a GPU: large enough that starting its kernels is not what takes the time."""

FREQUENT_WORDS = "the of and in to is for with"
"""A prompt starts as these: they move MiniLM's vectors less than other tokens."""


class Encoder:
    """A frozen base, and the adapter on it if one was trained."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.tuning: Tuning = HeadOnly()
        self._state: dict[str, torch.Tensor] | None = None
        self._network: Any = None
        self._attached: Attached | None = None

    @property
    def network(self) -> Any:
        """The transformer, loaded on first use, with the adapter in place."""
        if self._network is None:
            self._network = self.base.load_network()
            if self._state is not None:
                self._use(self._state)
        return self._network

    @property
    def adapter(self) -> dict[str, torch.Tensor] | None:
        """The adapter's tensors by name; None where the encoder is the base itself."""
        return self._state

    @property
    def digest(self) -> str:
        """Names what decides an embedding: weights, adapter, precision, length, pooling."""
        return (
            f"{self.base.sha256[:16]}-{self._adapter_digest[:16]}"
            f"-{self.base.precision}-{MAX_TOKENS}-mean"
        )

    @property
    def _adapter_digest(self) -> str:
        if self._state is None:
            return "plain"
        # The same matrices mean something else at another scale.
        described = json.dumps(asdict(self.tuning), sort_keys=True)
        return sha256(f"{described} {tensors_digest(self._state)}".encode()).hexdigest()

    @property
    def lowest(self) -> int | None:
        """Number of the lowest layer that is not as published; None if the embeddings are not."""
        network = self.network
        if self._attached is None:
            return int(network.config.num_hidden_layers)
        return self._attached.lowest

    def set_adapter(self, state: dict[str, torch.Tensor] | None, tuning: Tuning) -> None:
        """Use the adapter `state`, or none: then the encoder is exactly the base again."""
        self.tuning, self._state = tuning, state
        if self._network is not None:
            self._detach()
            if state is not None:
                self._use(state)

    def start_training(
        self, tuning: Tuning, state: dict[str, torch.Tensor] | None, *, seed: int
    ) -> None:
        """Make the network trainable by `tuning`: from `state`, or from where the method starts.

        `trained_state` is what becomes of it; `set_adapter` makes that the encoder's adapter.

        Raises:
            ModelError: the network has no place for the method, or `state` is not of it.
        """
        _ = self.network  # as it is now, before the tuning that it is loaded by changes
        self.tuning = tuning
        self._attach(seed)
        if state is not None:
            self._fill(state)

    def trained_parameters(self) -> list[torch.nn.Parameter]:
        """What an optimizer has to move; nothing where nothing is trained."""
        parameters = [] if self._attached is None else self._attached.parameters()
        return [parameter for parameter in parameters if parameter.requires_grad]

    def trained_state(self) -> dict[str, torch.Tensor]:
        """A copy of what is trained on the network now, in fp32 on the CPU."""
        assert self._attached is not None
        return self._attached.state()

    def after_step(self, step: int, total_steps: int) -> None:
        """Let the method prune; after every move of the optimizer, before gradients are cleared."""
        if self._attached is not None:
            self._attached.after_step(step, total_steps)

    def penalty(self) -> torch.Tensor | None:
        """What the method adds to every step's loss, with a graph; None if it adds nothing."""
        return None if self._attached is None else self._attached.penalty()

    def drop(self, *, on: bool) -> None:
        """Turn the method's own dropout on or off; it is off but within training steps."""
        if self._attached is not None:
            self._attached.drop(on=on)

    def _use(self, state: dict[str, torch.Tensor]) -> None:
        self._attach(seed=0)
        self._fill(state)
        for parameter in self.trained_parameters():
            parameter.requires_grad_(requires_grad=False)

    def _attach(self, seed: int) -> None:
        network = self.network
        self._detach()
        words = self.base.tokenizer(FREQUENT_WORDS, add_special_tokens=False)["input_ids"]
        self._attached = attach(network, self.tuning, seed=seed, start_tokens=words)

    def _fill(self, state: dict[str, torch.Tensor]) -> None:
        assert self._attached is not None
        try:
            self._attached.fill(state)
        except ModelError as error:
            raise ModelError(f"{self.base.name}: {error}") from error

    def _detach(self) -> None:
        if self._attached is not None:
            self._attached.detach()
            self._attached = None

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, at most MAX_TOKENS."""
        ids: list[list[int]] = self.base.tokenizer(
            list(texts),
            truncation=True,
            max_length=MAX_TOKENS,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return ids

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, D) unit vectors in the order of `texts`, encoded in batches of like length."""
        tokens = self.tokenize(texts)
        lengths = np.fromiter((len(ids) for ids in tokens), np.int64, len(tokens))
        width = int(self.network.config.hidden_size)
        # They stay on the device until all are there: a GPU need not wait for copies in between.
        vectors = torch.empty((len(tokens), width), device=self.base.device)
        for rows in length_batches(lengths, self.base.device):
            ids, mask = pad([tokens[row] for row in rows], self.base)
            with torch.inference_mode():
                hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
            vectors[torch.from_numpy(rows)] = pool(hidden, mask)
        found: NDArray[np.float32] = vectors.cpu().numpy()
        return found


def carried(start: Encoder, tuning: Tuning) -> dict[str, torch.Tensor] | None:
    """The adapter from which training by `tuning` goes on: that of `start`, if it has one.

    Raises:
        ModelError: it was trained by other knobs, under which it would mean something else.
    """
    if start.adapter is not None:
        require_same(start.tuning, tuning)
    return start.adapter


def require_same(before: Tuning, now: Tuning) -> None:
    """Raise ModelError unless what was trained by the one can be trained on by the other."""
    if {**asdict(before), "dropout": None} != {**asdict(now), "dropout": None}:
        raise ModelError(
            f"The start's adapter was trained by {asdict(before)}, and `tuning` now says "
            f"{asdict(now)}: training cannot go on from it. Set `tuning` back, or start from "
            "the published network."
        )


def pool(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """(B, D) unit vectors: the mean over each text's tokens, in fp32."""
    weight = mask_BT.unsqueeze(-1).float()
    mean = (hidden_BTD.float() * weight).sum(1) / weight.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1)


def pad(tokens: list[list[int]], base: Base) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) ids and mask, padded to the longest of the batch."""
    longest = max(len(ids) for ids in tokens)
    filler = base.tokenizer.pad_token_id or 0
    ids = torch.tensor([row + [filler] * (longest - len(row)) for row in tokens])
    lengths = torch.tensor([len(row) for row in tokens])
    mask = (torch.arange(longest) < lengths.unsqueeze(1)).long()
    return ids.to(base.device), mask.to(base.device)


def length_batches(lengths: NDArray[np.int64], device: str) -> list[NDArray[np.int64]]:
    """Rows by length, cut where a batch would exceed the padded tokens that suit `device`."""
    most = TOKENS_A_BATCH if device == "cpu" else TOKENS_A_BATCH_GPU
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        stop = start + 1
        # Sorted ascending, so the last row taken sets the padding of all.
        while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= most:
            stop += 1
        batches.append(order[start:stop])
        start = stop
    return batches


def tensors_digest(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names and values."""
    digest = sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name].detach().cpu().float().numpy()).tobytes())
    return digest.hexdigest()
