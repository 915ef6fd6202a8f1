"""LoRA, AdaLoRA and IA3, by peft.

    LoRA      W x + α/r · B A x                   B = 0 at first               (Hu et al. 2021)
    AdaLoRA   W x + α/r · P Λ Q x                 Λ = 0 at first               (Zhang et al. 2023)
    IA3       l_k ⊙ K x, l_v ⊙ V x, W (l_ff ⊙ h)   l = 1 at first               (Liu et al. 2022)

So each starts as the unchanged network. LoRA and AdaLoRA adapt query and value. Matrices and
factors are fp32 whatever the network is.
"""

from typing import Any

import torch

from tasks.errors import ModelError
from tasks.recommender.recipe import IA3, AdaLora, Lora
from tasks.recommender.tuning.anatomy import Layer, names_of, no_place, top
from tasks.recommender.tuning.attached import Attached

ORTHOGONALITY = 0.1
"""γ, the weight of AdaLoRA's penalty; the paper uses 0.1 to 0.5."""
SHORTEST = 3
"""Moves of a run that is long enough for ranks to be told apart; a shorter one prunes nothing."""


def attach_lora(network: Any, tuning: Lora) -> Attached:
    """Put LoRA on query and value of the top layers."""
    from peft import LoraConfig

    layers = top(network, tuning.layers)
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=_query_and_value(network, layers),
        bias="none",
    )
    model, tensors = _inject(network, config)
    dropouts = [m for name, m in model.named_modules() if name.endswith("lora_dropout.default")]
    return Attached(tensors, lowest=layers[0].number, undo=[model.unload], dropouts=dropouts)


def attach_ia3(network: Any, tuning: IA3) -> Attached:
    """Put factors on keys, values and what the feed-forward network's last projection reads."""
    from peft import IA3Config

    layers = top(network, tuning.layers)
    keys_and_values = [m for layer in layers for m in _projections(network, layer)[1:]]
    inner = [_feed_forward(network, layer) for layer in layers]
    config = IA3Config(
        target_modules=names_of(network, [*keys_and_values, *inner]),
        feedforward_modules=names_of(network, inner),
    )
    model, tensors = _inject(network, config)
    return Attached(tensors, lowest=layers[0].number, undo=[model.unload])


def attach_adalora(network: Any, tuning: AdaLora) -> Attached:
    """Put P Λ Q on query and value of the top layers, P and Q orthonormal at first.

    From a tenth of the moves on, the triplets that matter least lose their Λ, until `rank` a matrix
    are left on average after two thirds; those that went stay 0 to the end.

    Raises:
        ModelError: there is nothing to prune.
    """
    from peft import AdaLoraConfig

    if tuning.rank >= tuning.start_rank:
        raise ModelError(
            f"AdaLoRA prunes from start_rank to rank, and {tuning.start_rank} is not above "
            f"{tuning.rank}. Raise `tuning.start_rank`, or set `tuning.method: lora`."
        )
    layers = top(network, tuning.layers)
    config = AdaLoraConfig(
        init_r=tuning.start_rank,
        target_r=tuning.rank,
        lora_alpha=tuning.alpha,
        target_modules=_query_and_value(network, layers),
        total_step=SHORTEST,
        tinit=0,
        tfinal=1,
        deltaT=1,
    )
    model, tensors = _inject(network, config)
    bases = [tensor for name, tensor in tensors.items() if not name.endswith("lora_E")]
    for matrix in bases:
        torch.nn.init.orthogonal_(matrix)
    return Attached(
        tensors,
        lowest=layers[0].number,
        undo=[model.unload],
        budget=AdaLoraBudget(model, bases),
    )


class AdaLoraBudget:
    """Prunes ranks by sensitivity |w · ∂L/∂w|, smoothed over the moves, and keeps P, Q orthonormal."""

    def __init__(self, model: Any, bases: list[torch.Tensor]) -> None:
        self._model = model
        self._bases = bases

    def after_step(self, step: int, total_steps: int) -> None:
        """Prune to the budget of the step: cubic from start_rank to rank (eq. 12 of the paper)."""
        if total_steps < SHORTEST:
            return
        config = self._model.peft_config["default"]
        config.total_step = total_steps
        config.tinit, config.tfinal = total_steps // 10, total_steps // 3
        self._model.base_model.update_and_allocate(step)

    def penalty(self) -> torch.Tensor:
        """γ times the mean over all P and Q of ‖M Mᵀ − 1‖²_F, M with `rank` orthonormal rows."""
        terms = []
        for matrix in self._bases:
            rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            terms.append((rows @ rows.T - torch.eye(len(rows), device=rows.device)).square().sum())
        return ORTHOGONALITY * torch.stack(terms).mean()


def _inject(network: Any, config: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Peft's wrapper of the network, and the trained tensors by the names peft saves them under."""
    from peft import get_peft_model

    model = get_peft_model(network, config)
    network.eval()
    tensors = {}
    for name, parameter in model.named_parameters():
        # AdaLoRA keeps the rank that it divides by as a parameter, and in bf16 makes it learn.
        parameter.requires_grad_(parameter.requires_grad and ".ranknum." not in name)
        if parameter.requires_grad:
            tensors[name.replace(".default", "")] = parameter
    return model, tensors


def _query_and_value(network: Any, layers: list[Layer]) -> list[str]:
    pairs = [_projections(network, layer) for layer in layers]
    return names_of(network, [m for query, _, value in pairs for m in (query, value)])


def _projections(network: Any, layer: Layer) -> tuple[torch.nn.Module, ...]:
    found = layer.projections()
    if found is None:
        raise no_place(network, "separate query, key and value projections", "bottleneck")
    return found


def _feed_forward(network: Any, layer: Layer) -> torch.nn.Module:
    found = layer.sub_blocks()
    if found is None:
        raise no_place(network, "known end of its feed-forward networks", "lora")
    return found[1]
