"""Fine-tuning, second phase: network and head together, by steps over distinct items.

Shapes: N rows, I items, D embedding width.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch

from tasks.recommender.adapter_step import AdapterRun, AdapterStep
from tasks.recommender.draw import Drawn, draw_slates
from tasks.recommender.encoder import Encoder, carried
from tasks.recommender.head import HybridHead
from tasks.recommender.head_phase import head_groups, likelihood_alone, residual_parameters
from tasks.recommender.labelled import Labels, comparable, level_for, trainable
from tasks.recommender.learning.loss import Penalty, step_loss
from tasks.recommender.learning.optimizer import Optimizer
from tasks.recommender.learning.penalties import EWC, L2SP, diagonal_fisher
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe
from tasks.recommender.statistics import Ints
from tasks.recommender.tower import Noise, Tower

FISHER_SLATES = 64
"""Most slates, the newest, that EWC's Fisher information of the network is estimated on."""


def prepare_run(
    encoder: Encoder,
    head: HybridHead,
    shots: Prepared,
    labels: Labels,
    validation: Prepared,
    recipe: Recipe,
) -> AdapterRun:
    """Attach a fresh adapter to a copy of `encoder`, draw slates, and run the frozen layers once.

    `encoder` and `head` are not changed. The newest shots are drawn first.
    """
    drawn, held = _draw(shots, validation, recipe)
    own = Encoder(encoder.base)
    own.start_training(recipe.tuning, carried(encoder, recipe.tuning), seed=recipe.seed)
    texts = [shots.items.texts[item] for item in drawn.items]
    texts += [validation.items.texts[item] for item in held.items]
    return AdapterRun(
        own,
        deepcopy(head),
        level_for(head, shots, recipe.objective),
        Tower(own, texts),
        drawn,
        held,
        _number_texts(texts),
        labels.rows(torch.from_numpy(drawn.rows)),
        shots.features.behaviour.cpu().numpy()[drawn.rows],
        validation.features.behaviour.cpu().numpy()[held.rows],
        recipe.optimization,
    )


def _draw(shots: Prepared, validation: Prepared, recipe: Recipe) -> tuple[Drawn, Drawn]:
    """What is trained on and what is measured: their items bound the time."""
    rng = np.random.default_rng(recipe.seed)
    newest = trainable(shots.slates, recipe.objective)
    hours = shots.slates.hour[shots.slates.starts]
    newest = newest[np.argsort(-hours[newest], kind="stable")]
    drawn = draw_slates(
        shots.slates,
        newest[: recipe.adapter_slates],
        max_items=recipe.adapter_max_items,
        max_history=recipe.adapter_history,
        negatives=recipe.adapter_negatives,
        rng=rng,
    )
    held = draw_slates(
        validation.slates,
        comparable(validation.slates),
        max_items=recipe.adapter_max_items,
        max_history=validation.slates.history.shape[1],
        negatives=len(validation.slates.slate),
        rng=rng,
    )
    return drawn, held


def train_adapter(run: AdapterRun, recipe: Recipe) -> Iterator[float]:
    """Train the run's adapter and head in place; yields each epoch's mean loss."""
    rate = recipe.optimization.encoder_learning_rate
    head_rate = recipe.optimization.learning_rate / 10
    groups = head_groups(run.head, run.level, head_rate)
    groups.append({"params": run.encoder.trained_parameters(), "lr": rate})
    num_slates, size = len(run.shots.slates.history), recipe.adapter_slates_per_step
    steps = -(-num_slates // size) * recipe.adapter_epochs
    optimizer = Optimizer(
        groups, recipe.optimization, steps, phase="adapter", after_move=run.encoder.after_step
    )
    decay = recipe.regularize.l2_sp
    start_head = L2SP(residual_parameters(run.head), decay)
    start_network = L2SP(_network_parameters(run), decay)
    penalties = [*_of_the_method(run), *_consolidate(run, recipe)]
    done = 0
    rng = np.random.default_rng(recipe.seed)
    for _ in range(recipe.adapter_epochs):
        run.head.train()
        order, losses = rng.permutation(num_slates), []
        for first in range(0, num_slates, size):
            step = AdapterStep(run, order[first : first + size], Noise(recipe.seed + done))
            loss = backward_step(step, recipe, penalties)
            factor, done = optimizer.step(loss), done + 1
            start_head.pull(head_rate * factor)
            start_network.pull(rate * factor)
            losses.append(loss.item())
        yield float(np.mean(losses))


def backward_step(
    step: AdapterStep, recipe: Recipe, penalties: Sequence[Penalty] = ()
) -> torch.Tensor:
    """Add the gradient of the step's loss in network and head; returns the loss."""
    loss = step_loss(step, recipe, penalties)
    loss.backward()
    step.push_back()
    return loss.detach()


def _of_the_method(run: AdapterRun) -> list[Penalty]:
    """What the tuning method adds to every step's loss."""

    def penalty() -> torch.Tensor:
        added = run.encoder.penalty()
        assert added is not None
        return added

    return [] if run.encoder.penalty() is None else [penalty]


def _consolidate(run: AdapterRun, recipe: Recipe) -> list[Penalty]:
    """EWC around adapter and head as they are now, if the recipe asks for it."""
    if not recipe.regularize.ewc:
        return []
    run.head.eval()
    plain = likelihood_alone(recipe)

    def backward_of(slate: int) -> Callable[[], object]:
        return lambda: backward_step(AdapterStep(run, np.array([slate])), plain)

    slates = range(min(FISHER_SLATES, len(run.shots.slates.history)))
    parameters = {**dict(run.head.named_parameters()), **_network_parameters(run)}
    fisher = diagonal_fisher(parameters, map(backward_of, slates))
    run.level.zero_grad()
    return [EWC(parameters, recipe.regularize.ewc, fisher).penalty]


def _network_parameters(run: AdapterRun) -> dict[str, torch.nn.Parameter]:
    return {f"network.{k}": p for k, p in enumerate(run.encoder.trained_parameters())}


def _number_texts(texts: list[str]) -> Ints:
    """Number of the first item with the same text; −1 for one without."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(t, k) if t else -1 for k, t in enumerate(texts)], np.int64)
