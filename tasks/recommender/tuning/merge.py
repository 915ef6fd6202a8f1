"""A long-term and a short-term adapter made one: what lasts, and what is new.

    W + s ΔW_long + (1 − s) ΔW_short            s: share of the long-term adapter

The long-term adapter is the champion's; the short-term one was trained afresh on the newest shots
alone, so that what is new need not be unlearned first. LoRA and AdaLoRA merge the products that
they add to the weights, not their factors, whose averages mean nothing: the sum of two products of
rank r has rank 2r at most, and is cut back to r by its largest singular values, which is the closest
there is (Eckart and Young 1936); AdaLoRA's also to its budget. All other methods average parameters.

Source: Shi et al. (2023), Preliminary study on incremental learning for large language model-based
recommender systems (LSAT).
"""

from collections.abc import Mapping

import torch

from tasks.errors import ModelError
from tasks.recommender.recipe import AdaLora, Lora, Tuning
from tasks.recommender.tuning.attached import State


def merge(
    tuning: Tuning,
    long: Mapping[str, torch.Tensor],
    short: Mapping[str, torch.Tensor],
    share: float,
) -> State:
    """The adapter of two, as a state that `Attached.fill` takes.

    Args:
        tuning: with which both were trained.
        long: state of the long-term adapter.
        short: state of the short-term adapter.
        share: of the long-term adapter, in [0, 1].

    Raises:
        ModelError: the two are not of the same method, network and shape, or the share is none.
    """
    _require_alike(long, short)
    if not 0 <= share <= 1:
        raise ModelError(f"The long-term adapter's share is {share}, and has to be in [0, 1].")
    merged = {name: torch.lerp(short[name], long[name], share) for name in long}
    if isinstance(tuning, Lora | AdaLora):
        for name in [name for name in long if "lora_A" in name]:
            merged |= _merge_products(name, long, short, share)
    if isinstance(tuning, AdaLora):
        _prune([tensor for name, tensor in merged.items() if "lora_E" in name], tuning.rank)
    return merged


def _merge_products(
    name_of_a: str,
    long: Mapping[str, torch.Tensor],
    short: Mapping[str, torch.Tensor],
    share: float,
) -> State:
    """The factors, by name, of one adapted matrix."""
    a, b, e = (name_of_a.replace("lora_A", f"lora_{letter}") for letter in "ABE")
    rank = len(long[a])
    left = torch.cat([share * _left(long, b, e), (1 - share) * _left(short, b, e)], 1)
    right = torch.cat([long[a], short[a]])
    u, singular, v = (_fit(part, rank) for part in _svd(left, right))
    if e in long:
        return {a: v.T.contiguous(), b: u, e: singular[:, None]}
    root = singular.sqrt()
    return {a: (v * root).T.contiguous(), b: u * root}


def _prune(singular: list[torch.Tensor], rank: int) -> None:
    """Leave the largest, `rank` a matrix on average: AdaLoRA's budget."""
    together = torch.cat([values.flatten() for values in singular])
    smallest = together.sort(descending=True).values[: rank * len(singular)].min()
    for values in singular:
        values[values < smallest] = 0


def _left(state: Mapping[str, torch.Tensor], b: str, e: str) -> torch.Tensor:
    """(out, r) what stands left of A: B, or P Λ."""
    return state[b] * state[e].T if e in state else state[b]


def _svd(
    left: torch.Tensor, right: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, singular values and V of `left` @ `right`, by way of its small core."""
    left_basis, left_core = torch.linalg.qr(left.double())
    right_basis, right_core = torch.linalg.qr(right.double().T)
    u, singular, v = torch.linalg.svd(left_core @ right_core.T)
    return (left_basis @ u).float(), singular.float(), (right_basis @ v.T).float()


def _fit(columns: torch.Tensor, rank: int) -> torch.Tensor:
    """`rank` along the last axis: the first ones, or zeros where there are fewer."""
    missing = max(0, rank - columns.shape[-1])
    return torch.nn.functional.pad(columns, (0, missing))[..., :rank].contiguous()


def _require_alike(long: Mapping[str, torch.Tensor], short: Mapping[str, torch.Tensor]) -> None:
    if {n: t.shape for n, t in long.items()} != {n: t.shape for n, t in short.items()}:
        raise ModelError(
            "The long-term and the short-term adapter differ in shape, so they cannot be merged. "
            "Train the short-term one on the same base with the champion's `tuning`."
        )
