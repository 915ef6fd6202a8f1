"""A tuning method in place on a network: what it trains, and how it comes off again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from tasks.errors import ModelError

State = dict[str, torch.Tensor]


class RankBudget(Protocol):
    """What a method does besides moving by gradients: AdaLoRA prunes."""

    def after_step(self, step: int, total_steps: int) -> None:
        """See `Attached.after_step`."""

    def penalty(self) -> torch.Tensor:
        """See `Attached.penalty`."""


class Attached:
    """The trained tensors of one method on one network, by name."""

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        *,
        lowest: int | None,
        undo: Sequence[Callable[[], None]],
        budget: RankBudget | None = None,
        dropouts: Sequence[torch.nn.Module] = (),
    ) -> None:
        """Keep what a method put on a network.

        Args:
            tensors: the parameters that are trained and the buffers that they need, all fp32.
            lowest: number of the lowest layer that computes something else now; below it the
                network is the published one. The number of all layers if none does, None if even
                the embeddings do.
            undo: what takes the method off the network, in this order.
            budget: AdaLoRA's.
            dropouts: modules of the method that drop something while it is trained.
        """
        self.lowest = lowest
        self._tensors = dict(tensors)
        self._undo = list(undo)
        self._budget = budget
        self._dropouts = list(dropouts)

    def extend(
        self, tensors: Mapping[str, torch.Tensor], undo: Sequence[Callable[[], None]]
    ) -> None:
        """Train something besides; it comes off after all else."""
        self._tensors |= tensors
        self._undo += undo

    def parameters(self) -> list[torch.nn.Parameter]:
        """What the optimizer moves."""
        return [t for t in self._tensors.values() if isinstance(t, torch.nn.Parameter)]

    def state(self) -> State:
        """A copy of all that was trained, by name: fp32, on the CPU."""
        return {name: t.detach().float().cpu().clone() for name, t in self._tensors.items()}

    @torch.no_grad()
    def fill(self, state: Mapping[str, torch.Tensor]) -> None:
        """Put the tensors that `state` returned in place.

        Raises:
            ModelError: names or shapes are not those of this method on this network; nothing
                was changed then.
        """
        self._require_fit(state)
        for name, tensor in self._tensors.items():
            tensor.copy_(state[name])

    def _require_fit(self, state: Mapping[str, torch.Tensor]) -> None:
        unknown = [name for name in state if name not in self._tensors]
        missing = [name for name in self._tensors if name not in state]
        if unknown or missing:
            problem = f"it has no {unknown[0]}" if unknown else f"{missing[0]} is not in it"
            raise ModelError(_misfit(problem))
        for name, tensor in self._tensors.items():
            found, needed = tuple(state[name].shape), tuple(tensor.shape)
            if found != needed:
                raise ModelError(_misfit(f"{name} is {found}, and the network needs {needed}"))

    def detach(self) -> None:
        """Give the network back exactly as it was; this object is spent."""
        for undo in self._undo:
            undo()
        self._undo, self._tensors = [], {}

    def after_step(self, step: int, total_steps: int) -> None:
        """Do what the method does after the optimizer moved and before gradients are cleared.

        Args:
            step: number of the move, from 1.
            total_steps: of all moves.
        """
        if self._budget is not None:
            self._budget.after_step(step, total_steps)

    def penalty(self) -> torch.Tensor | None:
        """A term that the method adds to every step's loss; None for all but AdaLoRA."""
        return None if self._budget is None else self._budget.penalty()

    def drop(self, *, on: bool) -> None:
        """Turn the method's own dropout on or off; it is off at first."""
        for module in self._dropouts:
            module.train(on)


def freeze(network: Any) -> Callable[[], None]:
    """Stop the gradients of all weights of `network`; the return value lets them be as before."""
    learned = [p for p in network.parameters() if p.requires_grad]
    network.requires_grad_(requires_grad=False)

    def undo() -> None:
        network.requires_grad_(requires_grad=False)
        for parameter in learned:
            parameter.requires_grad_()

    return undo


def _misfit(problem: str) -> str:
    return (
        f"The trained weights do not fit the network and its `tuning`: {problem}. Load them with "
        "the base and the `tuning` that they were trained on."
    )
