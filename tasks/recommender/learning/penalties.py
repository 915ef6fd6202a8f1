"""What keeps weights near where training started.

θ are the trained weights, θ* what they were at the start.
"""

from collections.abc import Callable, Iterable, Mapping

import torch

Parameters = Mapping[str, torch.nn.Parameter]


class L2SP:
    """θ ← θ − η λ (θ − θ*) beside each step: weight decay towards the start, instead of towards 0.

    Decoupled from the gradient, as in AdamW. For an untrained head the start is the zero-shot score.

    Source: Li et al. (2018), Explicit inductive bias for transfer learning; Loshchilov and Hutter
    (2019) for the decoupling.
    """

    def __init__(self, parameters: Parameters, decay: float) -> None:
        """Remember the parameters as they are now; `decay` is λ."""
        self._decay = decay
        self._pairs = _with_start(parameters) if decay else []

    @torch.no_grad()
    def pull(self, rate: float) -> None:
        """Go back a share of `rate` × λ, after a step at learning rate `rate`."""
        for parameter, start in self._pairs:
            parameter.lerp_(start, rate * self._decay)


class EWC:
    """λ / 2 Σ_i F_i (θ_i − θ*_i)²: what the start's labels depend on stays.

    F is the diagonal of the empirical Fisher information: the mean over slates of the squared
    gradient of the slate's log-likelihood at θ*.

    Source: Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks.
    """

    def __init__(
        self, parameters: Parameters, weight: float, fisher: Mapping[str, torch.Tensor]
    ) -> None:
        """Remember the parameters as they are now.

        Args:
            parameters: by name.
            weight: λ.
            fisher: F by the same names, as `diagonal_fisher` estimates it.
        """
        self._weight = weight
        information = [fisher[name] for name in parameters]
        self._terms = list(zip(_with_start(parameters), information, strict=True))

    def penalty(self) -> torch.Tensor:
        """The quadratic form at the parameters as they are now, with its graph."""
        parts = [(fisher * (now - start) ** 2).sum() for (now, start), fisher in self._terms]
        return self._weight / 2 * torch.stack(parts).sum()


def diagonal_fisher(
    parameters: Parameters, backward_of: Iterable[Callable[[], object]]
) -> dict[str, torch.Tensor]:
    """Mean of the squared gradients of some log-likelihoods; 0 where none of them depends on it.

    Gradients that the parameters hold are dropped.

    Args:
        parameters: by name.
        backward_of: each leaves the gradient of one slate's log-likelihood in the parameters.
    """
    fisher = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
    num = 0
    for backward in backward_of:
        _drop_gradients(parameters)
        backward()
        num += 1
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                fisher[name] += parameter.grad**2
    _drop_gradients(parameters)
    return {name: total / max(1, num) for name, total in fisher.items()}


def _with_start(parameters: Parameters) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
    return [(p, p.detach().clone()) for p in parameters.values()]


def _drop_gradients(parameters: Parameters) -> None:
    for parameter in parameters.values():
        parameter.grad = None
