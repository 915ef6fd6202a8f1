"""Fine-tuning, first phase: the head alone, over features computed once.

Shapes: N rows, S slates.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.head import Features, HybridHead
from tasks.recommender.losses import Floats, listwise_loss, slate_aucs
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import State
from tasks.recommender.slates import Slates


def train_head(head: HybridHead, shots: Prepared, recipe: Recipe) -> Iterator[float | None]:
    """Train `head` in place; yields each epoch's mean loss, None if no shot ranks anything."""
    optimizer = torch.optim.AdamW(head_groups(head, recipe.learning_rate), weight_decay=0.0)
    start = Anchor(head, recipe.weight_decay)
    steps = max(1, -(-num_trainable(shots.slates) // recipe.slates_per_step))
    schedule = warmup(optimizer, steps * recipe.head_epochs, recipe.warmup_share)
    rng = np.random.default_rng(recipe.seed)
    labels = torch.from_numpy(shots.slates.label.astype(np.float32)).to(head.linear.device)
    for epoch in range(1, recipe.head_epochs + 1):
        head.train()
        losses = []
        for rows, slate, num in slate_steps(shots.slates, recipe.slates_per_step, rng):
            logits = head.rank(shots.features.rows(rows))
            loss = listwise_loss(logits, labels[rows], slate, num)
            check_finite(loss, "head", epoch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            start.pull(optimizer.param_groups[0]["lr"])
            schedule.step()
            losses.append(loss.item())
        yield float(np.mean(losses)) if losses else None


class Anchor:
    """Weight decay towards where the residual started, instead of towards 0.

    For an untrained head that is the zero-shot score.
    """

    def __init__(self, head: HybridHead, decay: float) -> None:
        self.decay = decay
        self.pairs = [(p, p.detach().clone()) for p in residual_parameters(head)]

    @torch.no_grad()
    def pull(self, rate: float) -> None:
        """Decoupled from the gradient, as in AdamW: go back a share of rate × decay."""
        for parameter, start in self.pairs:
            parameter.lerp_(start, rate * self.decay)


def residual_parameters(head: HybridHead) -> list[torch.nn.Parameter]:
    """The weights of the residual, which decay pulls back."""
    return [head.linear, head.mixed, *head.hidden.parameters()]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the head's steps are too small to share.

    On a busy machine, threads that wait for each other thousands of times an epoch made an epoch
    of 20 ms last 4 s.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def head_groups(head: HybridHead, rate: float) -> list[dict[str, object]]:
    """Optimizer groups of the head's parameters."""
    return [
        {"params": residual_parameters(head), "lr": rate},
        # In units of cosine, so they have to travel further than a weight does.
        {"params": [head.sharpness, head.fading], "lr": 10 * rate},
    ]


def warmup(
    optimizer: torch.optim.Optimizer, steps: int, share: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Rise linearly over `share` of the steps, then fall linearly to a tenth."""
    rise = max(1, round(steps * share))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 1.0 - 0.9 * (step - rise) / max(1, steps - rise)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def slate_steps(
    slates: Slates, per_step: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Shuffled slates that hold a click and a skip: their rows, each row's slate, their number."""
    order = rng.permutation(trainable(slates))
    for start in range(0, len(order), per_step):
        chosen = order[start : start + per_step]
        sizes = slates.sizes[chosen]
        slate = np.repeat(np.arange(len(chosen)), sizes)
        within = np.arange(len(slate)) - (np.cumsum(sizes) - sizes)[slate]
        rows = slates.starts[chosen][slate] + within
        yield torch.from_numpy(rows), torch.from_numpy(slate), len(chosen)


def trainable(slates: Slates) -> NDArray[np.int64]:
    """Numbers of the slates that hold both a click and a skip."""
    clicks = np.bincount(slates.slate, slates.label, minlength=len(slates.history))
    return np.flatnonzero((clicks > 0) & (clicks < slates.sizes))


def num_trainable(slates: Slates) -> int:
    """How many slates a listwise loss can learn from."""
    return len(trainable(slates))


@torch.inference_mode()
def measure_head(head: HybridHead, features: Features, slates: Slates) -> Floats:
    """(V,) AUC of each slate that ranks anything, by what `head` makes of `features`."""
    if not len(slates.slate):
        return np.empty(0)
    head.eval()
    scores = head.rank(features).double().cpu().numpy()
    return slate_aucs(scores, slates.label, slates.slate)


def copy_state(head: HybridHead) -> State:
    """The head's numbers, detached from what happens to them next."""
    return {name: value.detach().clone() for name, value in head.state_dict().items()}


def check_finite(loss: torch.Tensor, phase: str, epoch: int) -> None:
    """Raise ModelError if training has diverged."""
    if not bool(torch.isfinite(loss)):
        raise ModelError(
            f"The {phase}'s loss is {loss.item()} in epoch {epoch}: training diverged. "
            "Lower the recipe's learning rate, or look for broken values in the day's features."
        )
