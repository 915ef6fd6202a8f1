"""Bottleneck adapters: two small projections after each sub-block, around which the rest passes.

    y ← y + U gelu(D y + d) + u        y is what a sub-block gives, before its residual is added

D: (width, W), U: (W, width) and u are 0 at first, so that the network starts unchanged.

Source: Houlsby et al. (2019), Parameter-efficient transfer learning for NLP, whose two adapters a
layer these are.
"""

from typing import Any

import torch

from tasks.recommender.recipe import Bottleneck
from tasks.recommender.tuning.anatomy import Layer, no_place, top
from tasks.recommender.tuning.attached import Attached

PLACES = ("attention", "feed_forward")


def attach_bottleneck(network: Any, tuning: Bottleneck) -> Attached:
    """Put adapters on both sub-blocks of the top layers."""
    layers = top(network, tuning.layers)
    tensors: dict[str, torch.Tensor] = {}
    hooks = []
    for layer in layers:
        for place, module in zip(PLACES, _sub_blocks(network, layer), strict=True):
            adapter = _adapter(module, tuning.width)
            prefix = f"layer.{layer.number}.{place}."
            tensors |= {prefix + name: p for name, p in adapter.named_parameters()}
            hooks.append(module.register_forward_hook(_Beside(adapter)))
    undo = [hook.remove for hook in hooks]
    return Attached(tensors, lowest=layers[0].number, undo=undo)


class _Beside:
    """Adds what an adapter makes of a sub-block's output."""

    def __init__(self, adapter: torch.nn.Module) -> None:
        self._adapter = adapter

    def __call__(self, _: Any, __: Any, y: torch.Tensor) -> torch.Tensor:
        return y + self._adapter(y.float()).to(y.dtype)


def _adapter(module: torch.nn.Module, width: int) -> torch.nn.Sequential:
    """Projections in fp32 where `module` is, as wide as what it gives."""
    weight, bias = module.weight, module.bias
    outer = len(bias) if bias is not None else len(weight)
    down, up = torch.nn.Linear(outer, width), torch.nn.Linear(width, outer)
    torch.nn.init.zeros_(up.weight)
    torch.nn.init.zeros_(up.bias)
    return torch.nn.Sequential(down, torch.nn.GELU(), up).to(weight.device)


def _sub_blocks(network: Any, layer: Layer) -> tuple[torch.nn.Module, torch.nn.Module]:
    found = layer.sub_blocks()
    if found is None:
        raise no_place(network, "known ends of attention and feed-forward network", "lora")
    return found
