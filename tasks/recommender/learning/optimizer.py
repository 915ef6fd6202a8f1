"""The optimizer of a phase: what moves the weights once a step's gradients are there.

    g ← mean of the gathered gradients;  g ← g · min(1, clip / ‖g‖)       over all weights together
    θ ← θ − η λ θ                                                         matrices alone
    θ ← θ − η AdamW(g)  or  θ − η (g + 0.9 v), v ← 0.9 v + g              η of the group and step

Sources: Loshchilov and Hutter (2019), Decoupled weight decay regularization; Nesterov momentum as
in Sutskever et al. (2013); clipping by the global norm, Pascanu et al. (2013).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tasks.errors import ModelError
from tasks.recommender.learning.schedule import rate_factor
from tasks.recommender.recipe import Optimization

MOMENTUM = 0.9


class Optimizer:
    """Moves groups of weights by the gradients that a step left in them.

    A training loop computes a loss, leaves its gradient in the weights (by `loss.backward()`, or
    pushed back in parts), and calls `step(loss)`. It never scales or clears gradients itself.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        optimization: Optimization,
        total_steps: int,
        *,
        phase: str = "head",
        after_move: Callable[[int, int], None] | None = None,
    ) -> None:
        """Take over some weights.

        Args:
            groups: each `{"params": weights, "lr": peak learning rate}`; a group may be empty.
            optimization: the knobs.
            total_steps: how often `step` will be called in all; the schedule ends there.
            phase: what is trained, as errors call it.
            after_move: called after each move with its number, from 1, and that of all moves,
                while the gradients that made it are still there.
        """
        self._optimization = optimization
        self._total_steps = total_steps
        self._phase = phase
        self._after_move = after_move
        self._total_moves = -(-total_steps // optimization.accumulate)
        self._steps = self._gathered = self._moves = 0
        self._optimizer = _torch_optimizer(_split(groups, optimization), optimization)
        self._optimizer.zero_grad()
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]

    def step(self, loss: torch.Tensor) -> float:
        """Count the gradients of `loss`, and move the weights if enough have been gathered.

        Every `accumulate`-th call moves, and so does the last of all. The gradients of the calls
        in between are averaged, and are zero after a move.

        Returns:
            The schedule's factor on the learning rates of the move; 0.0 where none was made.

        Raises:
            ModelError: the loss or a gradient is not finite; the weights are as before the step.
        """
        self._steps += 1
        self._gathered += 1
        self._require_finite("loss", loss)
        waits = self._steps % self._optimization.accumulate and self._steps != self._total_steps
        return 0.0 if waits else self._move()

    def _move(self) -> float:
        weights = [w for group in self._optimizer.param_groups for w in group["params"]]
        gradients = [w.grad for w in weights if w.grad is not None]
        for gradient in gradients:
            gradient.div_(self._gathered)
        norm = torch.nn.utils.get_total_norm(gradients)
        self._require_finite("gradient", norm)
        if self._optimization.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(weights, self._optimization.clip_norm, norm)
        factor = self._set_rates()
        self._decay()
        self._optimizer.step()
        self._moves, self._gathered = self._moves + 1, 0
        if self._after_move is not None:
            self._after_move(self._moves, self._total_moves)
        self._optimizer.zero_grad()
        return factor

    def _set_rates(self) -> float:
        factor = rate_factor(self._moves, self._total_moves, self._optimization)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        return factor

    @torch.no_grad()
    def _decay(self) -> None:
        for group in self._optimizer.param_groups:
            if group["decay"]:
                for weight in group["params"]:
                    weight.mul_(1 - group["lr"] * group["decay"])

    def _require_finite(self, what: str, value: torch.Tensor) -> None:
        if not bool(torch.isfinite(value).all()):
            raise ModelError(
                f"The {self._phase}'s {what} is {float(value.detach())} in step {self._steps} of "
                f"{self._total_steps}: training diverged. Lower the recipe's learning rate, or look "
                "for broken values in the day's features."
            )


def mixed_precision(optimization: Optimization, device: str) -> torch.autocast:
    """A context in which `device` multiplies in bfloat16 if the knob says so.

    Weights, gradients and what the optimizer keeps stay in their own type. bfloat16 has float32's
    range, so no loss has to be scaled.

    Source: Micikevicius et al. (2018), Mixed precision training.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=optimization.mixed_precision)


def _split(groups: Sequence[dict[str, Any]], optimization: Optimization) -> list[dict[str, Any]]:
    """Each group's matrices apart from its biases, norms and other vectors, which never decay."""
    parts = []
    for group in groups:
        weights = list(group["params"])
        matrices = [w for w in weights if w.ndim > 1]
        vectors = [w for w in weights if w.ndim <= 1]
        for chosen, decay in ((matrices, optimization.weight_decay), (vectors, 0.0)):
            if chosen:
                parts.append({"params": chosen, "lr": group["lr"], "decay": decay})
    return parts


def _torch_optimizer(
    groups: list[dict[str, Any]], optimization: Optimization
) -> torch.optim.Optimizer:
    # Decay is ours for both: torch's SGD would mix it into the momentum.
    if optimization.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=0.0, weight_decay=0.0)
