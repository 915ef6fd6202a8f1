"""Tiny networks of several architectures, and every tuning at their size."""

from typing import Any

import torch
import transformers

from tasks.recommender.recipe import (
    IA3,
    AdaLora,
    Bottleneck,
    Full,
    HeadOnly,
    Lora,
    Prefix,
    PromptTuning,
    PTuning,
    TopLayers,
)

LONGEST = 16
SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": LONGEST,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXACT = [
    Full(),
    TopLayers(),
    Lora(rank=4),
    AdaLora(start_rank=6, rank=3),
    IA3(),
    Bottleneck(width=8),
]
NEAR = [Prefix(tokens=4), PromptTuning(tokens=4), PTuning(tokens=4, hidden=8)]
TRAINING = [*EXACT, *NEAR]
ALL = [HeadOnly(), *TRAINING]


def method(tuning: Any) -> str:
    return str(tuning.method)


def make(name: str, **sizes: Any) -> Any:
    """A frozen network in evaluation mode, such as `BertModel`."""
    known = {"Bert", "Roberta", "DistilBert", "MPNet", "GPT2", "Llama", "Albert"}
    family = next(one for one in known if name.startswith(one))
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **sizes})
    torch.manual_seed(0)
    network = getattr(transformers, name)(config)
    return network.requires_grad_(requires_grad=False).eval()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of three texts of 7, 4 and 1 tokens."""
    ids = torch.randint(3, 50, (3, 7), generator=torch.Generator().manual_seed(3))
    mask = (torch.arange(7) < torch.tensor([[7], [4], [1]])).long()
    return ids * mask, mask


def output(network: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Hidden states of an encoder, else logits."""
    found = network(input_ids=ids, attention_mask=mask)
    return found["last_hidden_state"] if "last_hidden_state" in found else found["logits"]


def real(found: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What belongs to tokens that are there."""
    return found[mask.bool()] if found.dim() == 3 else found


def train(network: Any, attached: Any, steps: int = 3, rate: float = 0.05) -> None:
    """Some real steps of AdamW towards outputs of zero, AdaLoRA's pruning included."""
    ids, mask = batch()
    optimizer = torch.optim.AdamW(attached.parameters(), lr=rate)
    for step in range(1, steps + 1):
        loss = real(output(network, ids, mask), mask).float().square().mean()
        penalty = attached.penalty()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        attached.after_step(step, steps)
        optimizer.zero_grad()
