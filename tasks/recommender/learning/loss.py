"""What a step minimises, all of it, in order:

    labels                                       the objective, or its mean over two passes (R-Drop)
    + r_drop · divergence of the two passes
    + distill · divergence from the start
    + labels at adversarial inputs
    + info_nce · user to clicked item
    + simcse · item text to itself
    + penalties of the weights, such as EWC's

A term of weight 0 is never computed. `l2_sp` is no term: it is decoupled (`penalties.L2SP`).
"""

from collections.abc import Callable, Sequence

import torch

from tasks.errors import ModelError
from tasks.recommender.learning.adversarial import adversarial_loss
from tasks.recommender.learning.contrastive import info_nce, simcse
from tasks.recommender.learning.divergences import distillation, r_drop
from tasks.recommender.learning.objectives import label_loss
from tasks.recommender.learning.step import Step
from tasks.recommender.recipe import Recipe

Penalty = Callable[[], torch.Tensor]


def step_loss(step: Step, recipe: Recipe, penalties: Sequence[Penalty] = ()) -> torch.Tensor:
    """The loss of one step, ready for `backward`.

    Args:
        step: some slates, and the model that scores them.
        recipe: objective, regularize, adversarial and contrast are read.
        penalties: of the weights alone, whatever the step: such as `EWC.penalty`.

    Raises:
        ModelError: the recipe asks for a term that the ranker cannot give.
    """
    inputs = step.inputs()
    logits = step.score(inputs)
    loss = clean = _labels(step, logits, recipe)
    regularize, contrast = recipe.regularize, recipe.contrast
    if regularize.r_drop:
        second = step.score(inputs)
        apart = r_drop(logits, second, step.slate, step.num_slates)
        loss = (clean + _labels(step, second, recipe)) / 2 + regularize.r_drop * apart
    if regularize.distill:
        loss = loss + regularize.distill * _from_start(step, logits, recipe)
    if recipe.adversarial.method != "none":
        loss = loss + adversarial_loss(
            lambda moved: _labels(step, step.score(moved), recipe),
            inputs,
            clean,
            recipe.adversarial,
        )
    if contrast.info_nce:
        affinity = step.affinity(inputs)
        nce = info_nce(affinity, step.clicked, step.slate, step.weight, contrast)
        loss = loss + contrast.info_nce * nce
    if contrast.simcse:
        loss = loss + contrast.simcse * simcse(*step.views(), contrast.temperature)
    for penalty in penalties:
        loss = loss + penalty()
    return loss


def _labels(step: Step, logits: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    return label_loss(
        logits, step.clicked, step.slate, step.num_slates, step.weight, recipe.objective
    )


def _from_start(step: Step, logits: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    if step.start is None:
        raise ModelError(
            f"regularize.distill is {recipe.regularize.distill}, but the step does not know the "
            "start's logits. Give `start` to the step, or set regularize.distill to 0."
        )
    temperature = recipe.regularize.distill_temperature
    return distillation(logits, step.start, step.slate, step.num_slates, temperature)
