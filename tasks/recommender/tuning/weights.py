"""The network's own weights: all of them, those of the top layers, or none.

What is trained is held in fp32 beside the published weights, which stay as they are in memory, so
that taking it off is exact. A layer of a bf16 network then computes in fp32, and hands on bf16.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from tasks.recommender.recipe import TopLayers
from tasks.recommender.tuning.anatomy import top
from tasks.recommender.tuning.attached import Attached

Undo = Callable[[], None]


def attach_nothing(network: Any) -> Attached:
    """Train nothing of the network."""
    return Attached({}, lowest=int(network.config.num_hidden_layers), undo=[])


def attach_full(network: Any) -> Attached:
    """Train every weight, and compute everything in fp32."""
    tensors, undo = _thaw(dict(network.named_parameters()))
    return Attached(tensors, lowest=None, undo=[undo])


def attach_top_layers(network: Any, tuning: TopLayers) -> Attached:
    """Train every weight of the top layers."""
    layers = top(network, tuning.layers)
    attached = Attached({}, lowest=layers[0].number, undo=[])
    for layer in layers:
        attached.extend(*train_module(network, layer.module, hand_back=True))
    return attached


def train_module(
    network: Any, module: torch.nn.Module, *, hand_back: bool
) -> tuple[dict[str, torch.Tensor], list[Undo]]:
    """Train one module of a frozen network, in fp32.

    Args:
        network: whose names the tensors get.
        module: a layer, or a head on top.
        hand_back: whether what it gives is cast to the network's type again.

    Returns:
        Its tensors by name, and what undoes it.
    """
    inside = {id(parameter) for parameter in module.parameters()}
    chosen = {name: p for name, p in network.named_parameters() if id(p) in inside}
    kind = next(iter(chosen.values())).dtype
    tensors, undo = _thaw(chosen)
    if kind == torch.float32:
        return tensors, [undo]
    hooks = [module.register_forward_pre_hook(_widen, with_kwargs=True)]
    if hand_back:
        hooks.append(module.register_forward_hook(lambda _, __, given: _cast(given, kind)))
    return tensors, [*(hook.remove for hook in hooks), undo]


def _thaw(parameters: Mapping[str, torch.nn.Parameter]) -> tuple[dict[str, torch.Tensor], Undo]:
    published = [(parameter, parameter.data) for parameter in parameters.values()]
    for parameter, values in published:
        parameter.data = values.to(torch.float32, copy=True)
        parameter.requires_grad_()

    def undo() -> None:
        for parameter, values in published:
            parameter.data = values
            parameter.grad = None
            parameter.requires_grad_(requires_grad=False)

    return dict(parameters), undo


def _widen(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    return _cast(given, torch.float32), {k: _cast(v, torch.float32) for k, v in named.items()}


def _cast(value: Any, kind: torch.dtype) -> Any:
    """`value`, its floating tensors (in tuples too) of `kind`."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(kind)
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_cast(part, kind) for part in value)
    return value
