"""Prompt tuning and P-tuning: learned vectors before those of the text.

    prompt tuning   P                              (tokens, W)         (Lester et al. 2021)
    P-tuning        P₀ + V tanh(U E + u) + v       V, v = 0 at first   (Liu et al. 2021)

The vectors enter where the first layer reads the embedded text, and leave after the last, so:
the text keeps the positions that it had, however long it is; whatever follows the layers (pooling,
a classifier, a language model's head) sees the text's tokens alone; and a mean is one over them.
Rotary networks give the vectors the position of the text's first token. peft's versions are not used:
they shift the text's positions, may exceed the network's longest sequence, and hand on the prompt.

No prompt leaves a network unchanged. P and P₀ start as embedded tokens that are frequent, if the
caller names some: MiniLM's vectors then have a mean cosine of 0.88 with the published ones, against
0.58 for tokens drawn from the vocabulary.

A sequence has to be read in one pass; a step that continues a cache is not supported.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch

from tasks.errors import ModelError
from tasks.recommender.recipe import PromptTuning, PTuning
from tasks.recommender.tuning.anatomy import arguments, no_place, stack
from tasks.recommender.tuning.attached import Attached
from tasks.recommender.tuning.masks import causal_mask, lengthen

# Arguments of layers that tell them how far tokens are apart, which a prompt would have to extend.
DISTANCES = {"position_bias", "relative_pos", "rel_embeddings", "alibi"}


class Prompt(torch.nn.Module):
    """P itself."""

    def __init__(self, start_PW: torch.Tensor) -> None:
        super().__init__()
        self.vectors = torch.nn.Parameter(start_PW.clone())

    def forward(self) -> torch.Tensor:
        """(P, W)."""
        return self.vectors


class EncodedPrompt(torch.nn.Module):
    """P₀ and what a small network adds to it."""

    def __init__(self, start_PW: torch.Tensor, hidden: int) -> None:
        super().__init__()
        width = start_PW.shape[1]
        self.register_buffer("start", start_PW.clone())
        self.inputs = torch.nn.Parameter(torch.randn_like(start_PW))
        self.inner = torch.nn.Linear(width, hidden)
        self.outer = torch.nn.Linear(hidden, width)
        torch.nn.init.zeros_(self.outer.weight)
        torch.nn.init.zeros_(self.outer.bias)

    def forward(self) -> torch.Tensor:
        """(P, W)."""
        return self.start + self.outer(torch.tanh(self.inner(self.inputs)))


def attach_prompt(
    network: Any, tuning: PromptTuning | PTuning, start_tokens: Sequence[int]
) -> Attached:
    """Put a prompt before every text.

    Args:
        network: any whose layers take hidden states and a mask.
        tuning: how many vectors, and how they are made.
        start_tokens: ids whose embeddings the prompt starts as, from the first again if there are
            fewer than vectors; none for ids drawn from the vocabulary.
    """
    layers = [layer.module for layer in stack(network)]
    taken = set(arguments(layers[0]))
    if "attention_mask" not in taken or taken & DISTANCES:
        raise no_place(network, "layers that take a plain attention mask", "lora")
    start = _embedded(network, layers[0], _ids(network, start_tokens, tuning.tokens))
    prompt: Prompt | EncodedPrompt = (
        Prompt(start) if isinstance(tuning, PromptTuning) else EncodedPrompt(start, tuning.hidden)
    )
    prompt.to(network.device)
    hooks = [
        layer.register_forward_pre_hook(
            _Lengthened(layer, prompt, tuning.tokens, first=layer is layers[0]), with_kwargs=True
        )
        for layer in layers
    ]
    hooks.append(layers[-1].register_forward_hook(_shorten(tuning.tokens)))
    tensors = dict(prompt.named_parameters()) | dict(prompt.named_buffers())
    return Attached(
        {f"prompt.{name}": tensor for name, tensor in tensors.items()},
        lowest=0,
        undo=[hook.remove for hook in hooks],
    )


class _Lengthened:
    """Makes room for the prompt in what a layer is given, and puts it there before the first."""

    def __init__(
        self, layer: torch.nn.Module, prompt: torch.nn.Module, tokens: int, *, first: bool
    ) -> None:
        self._signature = signature(layer.forward)
        self._prompt = prompt
        self._tokens = tokens
        self._first = first
        self._causal = any(getattr(module, "is_causal", False) for module in layer.modules())

    def __call__(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        call = self._signature.bind(*given, **named)
        states = next(iter(call.arguments))
        text = call.arguments[states]
        if self._first:
            prompt = self._prompt().to(text.dtype).expand(len(text), -1, -1)
            call.arguments[states] = torch.cat([prompt, text], 1)
        else:
            text = text[:, self._tokens :]
        mask = call.arguments.get("attention_mask")
        if mask is None and self._causal:
            mask = causal_mask(text)
        if mask is not None:
            call.arguments["attention_mask"] = lengthen(mask, self._tokens)
        self._place(call.arguments)
        self._place(call.arguments.get("kwargs", {}))
        return call.args, call.kwargs

    def _place(self, named: Any) -> None:
        """Give the prompt the rotation of the text's first token."""
        rotations = named.get("position_embeddings")
        if rotations is not None:
            named["position_embeddings"] = tuple(
                torch.cat([part[:, :1].expand(-1, self._tokens, -1), part], 1) for part in rotations
            )


def _shorten(tokens: int) -> Any:
    def hook(_: Any, __: Any, given: Any) -> Any:
        if isinstance(given, tuple):
            return given[0][:, tokens:], *given[1:]
        return given[:, tokens:]

    return hook


def _ids(network: Any, start_tokens: Sequence[int], tokens: int) -> torch.Tensor:
    """(1, P) token ids."""
    if not start_tokens:
        return torch.randint(int(network.config.vocab_size), (1, tokens))
    return torch.tensor([(list(start_tokens) * tokens)[:tokens]])


@torch.no_grad()
def _embedded(network: Any, first: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """(P, W) what the first layer reads of the tokens `ids`, in fp32."""
    longest = getattr(network.config, "max_position_embeddings", None)
    if longest is not None and ids.shape[1] > longest:
        raise ModelError(
            f"A prompt of {ids.shape[1]} tokens is longer than the {longest} positions of "
            f"{network.config.model_type}. Lower `tuning.tokens`."
        )
    read: list[torch.Tensor] = []
    hook = first.register_forward_pre_hook(
        lambda _, given, named: read.append(given[0] if given else named["hidden_states"]),
        with_kwargs=True,
    )
    network(input_ids=ids.to(network.device))
    hook.remove()
    return read[0][0].float()
