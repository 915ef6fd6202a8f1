"""The pretrained network of a ranker of texts, from word embeddings to what is read of its states.

Texts are padded on the right, whatever the tokenizer's own side: a causal model's tokens never look at
what follows them, so each text's states are those that it has alone.

Shapes: B texts, T tokens, D embedding width, W hidden width, J places, V words of the vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from tasks.errors import ModelError
from tasks.recommender.base import Base, Network
from tasks.recommender.recipe import Tuning
from tasks.recommender.tuning.attach import attach
from tasks.recommender.tuning.attached import Attached


class TextNetwork:
    """A network, loaded on first use, with what was trained of it in place."""

    def __init__(self, base: Base, ends_in: Network) -> None:
        self.base = base
        self.ends_in: Network = ends_in
        self._network: Any = None
        self._attached: Attached | None = None

    @property
    def network(self) -> Any:
        """The network with its language model's head, if it has one."""
        if self._network is None:
            self._network = self.base.load_network(self.ends_in)
        return self._network

    @property
    def width(self) -> int:
        """W"""
        return int(self.base.config.hidden_size)

    def attach(self, tuning: Tuning, *, seed: int, start_tokens: Sequence[int] = ()) -> Attached:
        """Put a tuning method on the network, which has none."""
        assert self._attached is None, "one method at a time"
        self._attached = attach(self.network, tuning, seed=seed, start_tokens=start_tokens)
        return self._attached

    def detach(self) -> None:
        """Give the network back as it was published."""
        if self._attached is not None:
            self._attached.detach()
            self._attached = None

    def require_room(self, tokens: int) -> None:
        """Raise ModelError if the network has no positions for texts of so many tokens."""
        positions = getattr(self.base.config, "max_position_embeddings", None) or tokens
        room = min(int(positions), int(self.base.tokenizer.model_max_length))
        if tokens > room:
            raise ModelError(
                f"`ranker.max_tokens` is {tokens}, and {self.base.name} reads {room} at most. "
                "Lower it, or name another base."
            )

    def pad(
        self, sequences: Sequence[Sequence[int]], filler: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T) ids and mask, filled up on the right."""
        lengths = torch.tensor([len(ids) for ids in sequences])
        longest = int(lengths.max())
        ids = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in sequences])
        mask = (torch.arange(longest) < lengths.unsqueeze(1)).long()
        return ids.to(self.base.device), mask.to(self.base.device)

    def embed(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """(B, T, D) word embeddings."""
        return self.network.base_model.get_input_embeddings()(ids_BT)

    def states(self, embeddings_BTD: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """(B, T, W) last hidden states."""
        backbone = self.network.base_model
        return backbone(inputs_embeds=embeddings_BTD, attention_mask=mask_BT).last_hidden_state

    def logits(
        self, embeddings_BTD: torch.Tensor, mask_BT: torch.Tensor, places_BJ: torch.Tensor
    ) -> torch.Tensor:
        """(B, J, V) logits of the language model at some places alone.

        A vocabulary is wider than a layer, so the head reads no other place.
        """
        with _only(self.network.base_model, places_BJ):
            return self.network(inputs_embeds=embeddings_BTD, attention_mask=mask_BT).logits


@contextmanager
def _only(backbone: Any, places_BJ: torch.Tensor) -> Iterator[None]:
    """Let whatever follows the backbone see some places of its last states alone."""

    def gather(_module: Any, _inputs: Any, output: Any) -> Any:
        states = output.last_hidden_state
        index = places_BJ.unsqueeze(-1).expand(-1, -1, states.shape[-1])
        output.last_hidden_state = states.gather(1, index)
        return output

    hook = backbone.register_forward_hook(gather)
    try:
        yield
    finally:
        hook.remove()
