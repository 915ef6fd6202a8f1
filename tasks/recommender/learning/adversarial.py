"""Training on inputs moved a little where the loss rises fastest.

With x an input vector, g the loss's gradient there, ε the longest perturbation and α one ascent, both as
shares of the vector's own length:

    fgm      δ = ε ‖x‖ g / ‖g‖                                           one ascent from x
    pgd      δ ← Π(δ + α ‖x‖ g(x + δ) / ‖g(x + δ)‖)     K times, δ = 0 at first; Π: to length ≤ ε ‖x‖
    freelb   the same from a random δ; the loss is the mean over the K points on the way

Each vector is moved by itself: an item's for `hybrid`, a word's for a ranker of texts. One that no
score depends on, such as padding, stays.

Sources: Miyato et al. (2017), Adversarial training methods for semi-supervised text classification;
Madry et al. (2018), Towards deep learning models resistant to adversarial attacks; Zhu et al. (2020),
FreeLB (here, every ascent draws its own dropout).

Shapes: I inputs, T tokens, D width.
"""

from collections.abc import Callable

import torch

from tasks.recommender.recipe import Adversarial

Loss = Callable[[torch.Tensor], torch.Tensor]


def adversarial_loss(
    loss_of: Loss, inputs: torch.Tensor, clean: torch.Tensor, adversarial: Adversarial
) -> torch.Tensor:
    """The loss at inputs that were moved against it, which counts beside the clean one.

    Its gradient reaches the weights and the inputs; the perturbation counts as a constant.

    Args:
        loss_of: the loss as a function of the inputs.
        inputs: (I, D) or (I, T, D); they require a gradient.
        clean: the loss at `inputs`, with its graph.
        adversarial: which method; not `none`.
    """
    if adversarial.method == "freelb":
        return _freelb(loss_of, inputs, adversarial)
    (gradient,) = torch.autograd.grad(clean, inputs, retain_graph=True)
    if adversarial.method == "fgm":
        return loss_of(inputs + _ascent(gradient, inputs, adversarial.epsilon))
    moved = torch.zeros_like(inputs)
    for ascent in range(adversarial.steps):
        if ascent:
            gradient = _gradient(loss_of, inputs.detach(), moved)
        moved = moved + _ascent(gradient, inputs, adversarial.step_size)
        moved = project(moved, inputs, adversarial.epsilon)
    return loss_of(inputs + moved)


def _freelb(loss_of: Loss, inputs: torch.Tensor, adversarial: Adversarial) -> torch.Tensor:
    """Mean loss over the ascents: their gradients add up instead of being thrown away."""
    # Uniform in a cube that the ball holds.
    reach = adversarial.epsilon * _length(inputs) / inputs.shape[-1] ** 0.5
    moved = (2 * torch.rand_like(inputs) - 1) * reach
    total = torch.zeros((), device=inputs.device)
    for _ in range(adversarial.steps):
        moved.requires_grad_()
        loss = loss_of(inputs + moved)
        (gradient,) = torch.autograd.grad(loss, moved, retain_graph=True)
        moved = moved.detach() + _ascent(gradient, inputs, adversarial.step_size)
        moved = project(moved, inputs, adversarial.epsilon)
        total = total + loss
    return total / adversarial.steps


def project(moved: torch.Tensor, inputs: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The perturbations, shortened to `epsilon` of their vector's length where they are longer."""
    longest = epsilon * _length(inputs)
    length = moved.norm(dim=-1, keepdim=True)
    return moved * (longest / length.clamp(min=1e-12)).clamp(max=1.0)


def _gradient(loss_of: Loss, inputs: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    point = (inputs + moved).requires_grad_()
    return torch.autograd.grad(loss_of(point), point)[0]


def _ascent(gradient: torch.Tensor, inputs: torch.Tensor, share: float) -> torch.Tensor:
    """A step of `share` of each vector's length along its gradient; none where that is 0."""
    length = gradient.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, share * _length(inputs) * gradient / length, 0.0)


def _length(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.detach().norm(dim=-1, keepdim=True)
