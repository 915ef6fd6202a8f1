"""Prefix tuning: learned keys and values that every layer's text attends to besides its own.

    attention(Q, [K_p; K], [V_p; V])        K_p, V_p: (heads, tokens, head width), fp32

The prefix has no place among the text's positions: masks and position ids are those of the text
alone, so nothing gets longer but the keys. It cannot start as the unchanged network, for whatever
is attended to takes its share. It starts with V_p = 0 and K_p near 0, which only shortens
what attention gives: MiniLM's vectors then have a cosine of 0.99 with the published ones, against
0.91 at best if the prefix starts as the activations of real words.

A step of several tokens that follows a non-empty cache is read right too. peft's prefix tuning is
not used: it hands the keys over as a cache of the whole network, which shifts the text's positions.

Source: Li and Liang (2021), Prefix-tuning; keys and values directly, without their reparametrising
network.
"""

from inspect import signature
from typing import Any

import torch

from tasks.recommender.recipe import Prefix
from tasks.recommender.tuning.anatomy import Layer, no_place, stack
from tasks.recommender.tuning.attached import Attached
from tasks.recommender.tuning.masks import causal_mask, see_before

SPREAD = 0.02
"""Standard deviation of the first keys: enough to tell the prefix's tokens apart."""


def attach_prefix(network: Any, tuning: Prefix) -> Attached:
    """Put a prefix on the attention of every layer."""
    layers = stack(network)
    attentions = _attentions(network, layers)
    tensors: dict[str, torch.Tensor] = {}
    hooks = []
    shapes = _key_shapes(network, attentions)
    for number, (attention, (heads, width)) in enumerate(zip(attentions, shapes, strict=True)):
        keys = SPREAD * torch.randn(heads, tuning.tokens, width)
        keys = torch.nn.Parameter(keys.to(network.device))
        values = torch.nn.Parameter(torch.zeros_like(keys))
        tensors |= {f"layer.{number}.keys": keys, f"layer.{number}.values": values}
        prefixed = _Prefixed(keys, values, attention)
        hooks.append(attention.register_forward_pre_hook(prefixed, with_kwargs=True))
    return Attached(tensors, lowest=0, undo=[hook.remove for hook in hooks])


class _Joined:
    """A cache, as attention sees it: what it is given, after the prefix and the real cache's."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, cache: Any) -> None:
        self._keys = keys
        self._values = values
        self._cache = cache

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *place: Any, **named: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self._cache is not None:
            keys, values = self._cache.update(keys, values, *place, **named)
        return _before(self._keys, keys), _before(self._values, values)


class _Prefixed:
    """Hands attention a joined cache, and a mask that lets all text see the prefix."""

    def __init__(
        self, keys: torch.Tensor, values: torch.Tensor, attention: torch.nn.Module
    ) -> None:
        self._keys = keys
        self._values = values
        self._causal = bool(getattr(attention, "is_causal", False))
        self._signature = signature(attention.forward)

    def __call__(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        call = self._signature.bind(*given, **named)
        cache = call.arguments.get("past_key_values")
        call.arguments["past_key_values"] = _Joined(self._keys, self._values, cache)
        mask = call.arguments.get("attention_mask")
        if mask is None and self._causal:
            mask = causal_mask(next(iter(call.arguments.values())))
        if mask is not None:
            call.arguments["attention_mask"] = see_before(mask, self._keys.shape[1])
        return call.args, call.kwargs


class _Shapes:
    """A cache that holds nothing, and remembers the shape of what it was given last."""

    seen: tuple[int, int] = (0, 0)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen = keys.shape[1], keys.shape[3]
        return keys, values


def _attentions(network: Any, layers: list[Layer]) -> list[torch.nn.Module]:
    found = [layer.caching_attention() for layer in layers]
    chosen = [attention for attention in found if attention is not None]
    if len(chosen) < len(found):
        raise no_place(network, "attention that joins its keys with others", "prompt_tuning")
    return chosen


@torch.no_grad()
def _key_shapes(network: Any, attentions: list[torch.nn.Module]) -> list[tuple[int, int]]:
    """Heads and head width of each attention's keys, as a token that passes the network shows."""
    shapes = [_Shapes() for _ in attentions]
    hooks = [
        attention.register_forward_pre_hook(
            lambda _, given, named, cache=cache: (given, {**named, "past_key_values": cache}),
            with_kwargs=True,
        )
        for attention, cache in zip(attentions, shapes, strict=True)
    ]
    network(input_ids=torch.zeros((1, 1), dtype=torch.long, device=network.device))
    for hook in hooks:
        hook.remove()
    return [cache.seen for cache in shapes]


def _before(prefix: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return torch.cat([prefix.to(text.dtype).expand(len(text), -1, -1, -1), text], 2)
