"""Texts to unit vectors, by the base encoder with or without a LoRA adapter.

Mean over tokens, then length 1, as sentence-transformers does for MiniLM.

Shapes: B texts, T tokens, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.base import Base

MAX_TOKENS = 64
"""A title has about 15; what follows the 64th token of a longer text is not read."""
TOKENS_A_BATCH = 1024
"""Padded tokens encoded at once: small enough for the processor's cache."""

# Names that Hugging Face architectures give to the query and the value projection.
QUERY_AND_VALUE = (
    ("query", "value"),
    ("q_proj", "v_proj"),
    ("q_lin", "v_lin"),
    ("q", "v"),
)


@dataclass(frozen=True)
class AdapterShape:
    """Low-rank matrices beside frozen weights: W + α/r · B A, B = 0 at first (Hu et al. 2021)."""

    rank: int = 16
    """r: columns of B and rows of A."""
    alpha: int = 32
    """Scale of the learned part, over r."""
    top_layers: int = 2
    """How many layers, from the top, have adapted query and value projections."""


class Encoder:
    """A frozen base, and the adapter on its top layers if one was trained."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.shape = AdapterShape()
        self._state: dict[str, torch.Tensor] | None = None
        self._network: Any = None
        self._peft: Any = None

    @property
    def network(self) -> Any:
        """The transformer, loaded on first use, with the adapter in place."""
        if self._network is None:
            self._network = self.base.load_network()
            if self._state is not None:
                self._attach(self._state)
        return self._network

    @property
    def adapter(self) -> dict[str, torch.Tensor] | None:
        """The adapter's matrices by name; None where the encoder is the base itself."""
        return self._state

    @property
    def digest(self) -> str:
        """Names what decides an embedding: weights, adapter, precision, length, pooling."""
        return (
            f"{self.base.sha256[:16]}-{adapter_digest(self._state)[:16]}"
            f"-{self.base.precision}-{MAX_TOKENS}-mean"
        )

    def set_adapter(self, state: dict[str, torch.Tensor] | None, shape: AdapterShape) -> None:
        """Use the adapter `state`, or none: then the encoder is exactly the base again."""
        self.shape, self._state = shape, state
        if self._network is not None:
            self._detach()
            if state is not None:
                self._attach(state)

    def start_training(
        self, shape: AdapterShape, state: dict[str, torch.Tensor] | None, *, seed: int
    ) -> None:
        """Put a trainable adapter on the network: `state`, or a fresh one that changes nothing yet.

        A fresh adapter has B = 0. `keep_trained` makes what became of it the encoder's adapter.
        """
        self.shape = shape
        self._detach()
        self._inject(seed)
        if state is not None:
            self._fill(state)

    def trained_parameters(self) -> list[torch.nn.Parameter]:
        """The trainable matrices of the adapter on the network."""
        return [p for p in self.network.parameters() if p.requires_grad]

    def trained_state(self) -> dict[str, torch.Tensor]:
        """A copy of the matrices on the network now."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(self._peft)
        return {name: value.detach().float().cpu().clone() for name, value in state.items()}

    def _attach(self, state: dict[str, torch.Tensor]) -> None:
        self._inject(seed=0)
        self._fill(state)
        self._network.requires_grad_(requires_grad=False)

    def _inject(self, seed: int) -> None:
        from peft import LoraConfig, get_peft_model

        network = self.network
        layers = int(network.config.num_hidden_layers)
        config = LoraConfig(
            r=self.shape.rank,
            lora_alpha=self.shape.alpha,
            target_modules=list(_projections(network)),
            layers_to_transform=list(range(max(0, layers - self.shape.top_layers), layers)),
            bias="none",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._peft = get_peft_model(network, config)
        network.eval()

    def _fill(self, state: dict[str, torch.Tensor]) -> None:
        from peft import set_peft_model_state_dict

        try:
            unknown = set_peft_model_state_dict(self._peft, state).unexpected_keys
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                _misfit(self.base.name, str(error).splitlines()[-1].strip())
            ) from error
        if unknown:
            raise ModelError(_misfit(self.base.name, f"it has no {unknown[0]}"))

    def _detach(self) -> None:
        if self._peft is not None:
            self._peft.unload()
            self._network.requires_grad_(requires_grad=False)
            self._peft = None

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
        vectors = np.empty((len(tokens), width), np.float32)
        for rows in length_batches(lengths):
            ids, mask = pad([tokens[row] for row in rows], self.base)
            with torch.inference_mode():
                hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
            vectors[rows] = pool(hidden, mask).cpu().numpy()
        return vectors


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


def length_batches(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows by length, cut where a batch would exceed TOKENS_A_BATCH padded tokens."""
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        stop = start + 1
        # Sorted ascending, so the last row taken sets the padding of all.
        while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= TOKENS_A_BATCH:
            stop += 1
        batches.append(order[start:stop])
        start = stop
    return batches


def adapter_digest(state: dict[str, torch.Tensor] | None) -> str:
    """SHA-256 over the adapter's names and values; `plain` for none."""
    if state is None:
        return "plain"
    digest = sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name].detach().cpu().float().numpy()).tobytes())
    return digest.hexdigest()


def shape_json(shape: AdapterShape) -> dict[str, int]:
    """The adapter's shape as the ranker's config keeps it."""
    return asdict(shape)


def _projections(network: Any) -> tuple[str, str]:
    leaves = {name.rsplit(".", 1)[-1] for name, _ in network.named_modules()}
    for pair in QUERY_AND_VALUE:
        if set(pair) <= leaves:
            return pair
    raise ModelError(
        f"{network.config.model_type} has no separate query and value projections that LoRA could "
        "adapt. Set `finetune.adapter_epochs: 0`, or name a BERT-like base."
    )


def _misfit(base: str, problem: str) -> str:
    return (
        f"The adapter does not fit {base}: {problem.rstrip('.')}. "
        "Load it with the base that it was trained on."
    )
