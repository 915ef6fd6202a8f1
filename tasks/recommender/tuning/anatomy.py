"""Where the parts of a Hugging Face network are that a tuning method works on."""

from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch

from tasks.errors import ModelError

# Names that architectures give to the projections of self-attention.
QUERY_KEY_VALUE = (
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("q", "k", "v"),
)
# Where in a layer the last projections of its attention and its feed-forward network are.
SUB_BLOCKS = (
    ("attention.output.dense", "output.dense"),  # BERT, RoBERTa, ELECTRA
    ("attention.out_lin", "ffn.lin2"),  # DistilBERT
    ("attention.attn.o", "output.dense"),  # MPNet
    ("self_attn.o_proj", "mlp.down_proj"),  # Llama, Mistral, Qwen, Gemma
    ("self_attn.out_proj", "fc2"),  # OPT
    ("self_attn.dense", "mlp.fc2"),  # Phi
    ("attn.c_proj", "mlp.c_proj"),  # GPT-2
    ("attention.dense", "mlp.dense_4h_to_h"),  # GPT-NeoX
    ("attn.Wo", "mlp.Wo"),  # ModernBERT
)


@dataclass(frozen=True)
class Layer:
    """One layer of the stack."""

    number: int
    """From 0 at the bottom."""
    module: torch.nn.Module

    def projections(self) -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module] | None:
        """Query, key and value of its self-attention; None where they are not separate."""
        for module in self.module.modules():
            children = dict(module.named_children())
            for query, key, value in QUERY_KEY_VALUE:
                if query in children and key in children and value in children:
                    return children[query], children[key], children[value]
        return None

    def sub_blocks(self) -> tuple[torch.nn.Module, torch.nn.Module] | None:
        """The last projections of attention and feed-forward network; None where unknown."""
        for attention, feed_forward in SUB_BLOCKS:
            try:
                return self.module.get_submodule(attention), self.module.get_submodule(feed_forward)
            except AttributeError:
                continue
        return None

    def caching_attention(self) -> torch.nn.Module | None:
        """The module that joins keys and values with a cache's; None where there is not just one."""
        needed = {"past_key_values", "attention_mask"}
        takers = [m for m in self.module.modules() if needed <= set(arguments(m))]
        inner = [m for m in takers if not any(n is not m and n in takers for n in m.modules())]
        return inner[0] if len(inner) == 1 else None


def arguments(module: torch.nn.Module) -> list[str]:
    """Names of what the module's forward takes."""
    return list(signature(module.forward).parameters)


def stack(network: Any) -> list[Layer]:
    """The layers of `network`, from the bottom.

    Raises:
        ModelError: it has no list of layers, each with its own weights.
    """
    count = int(getattr(network.config, "num_hidden_layers", 0))
    for module in network.modules():
        if isinstance(module, torch.nn.ModuleList) and count and len(module) == count:
            return [Layer(number, layer) for number, layer in enumerate(module)]
    raise no_place(network, "list of layers, each with its own weights", "full")


def top(network: Any, layers: int) -> list[Layer]:
    """The topmost `layers` of the network's stack, or all if it has fewer."""
    return stack(network)[-layers:]


def names_of(network: Any, modules: list[torch.nn.Module]) -> list[str]:
    """The modules' full names within `network`, in their order."""
    found = {id(module): name for name, module in network.named_modules()}
    return [found[id(module)] for module in modules]


def no_place(network: Any, needed: str, instead: str) -> ModelError:
    """The error for a network on which a method has no place."""
    return ModelError(
        f"{network.config.model_type} has no {needed}, which this `tuning` works on. "
        f"Set `finetune.tuning.method: {instead}`, or name another base."
    )
