"""Epochs over shots for a ranker of texts: its head alone, or network and head together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tasks.recommender.head_phase import FISHER_SLATES, likelihood_alone, without_inputs
from tasks.recommender.labelled import Rows, slate_steps, trainable
from tasks.recommender.learning.loss import Penalty, step_loss
from tasks.recommender.learning.optimizer import Optimizer, mixed_precision
from tasks.recommender.learning.penalties import EWC, L2SP, Parameters, diagonal_fisher
from tasks.recommender.learning.step import Step
from tasks.recommender.level import Level
from tasks.recommender.rankers.ranker import TextRanker
from tasks.recommender.rankers.readout import Classifier
from tasks.recommender.rankers.text_step import HeadStep, Shots, TextStep
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import State
from tasks.recommender.tuning.attached import Attached

_NETWORK, _READOUT = "network.", "readout."
HEAD_SHARE = 0.1
"""Of the head's learning rate where the network moves too."""


@dataclass(frozen=True)
class Group:
    """Weights that share a learning rate and are pulled back to where they were."""

    parameters: Parameters
    rate: float


@dataclass(frozen=True)
class Phase:
    """What is trained, by which steps, and how often."""

    name: str
    epochs: int
    slates_per_step: int
    groups: list[Group]
    step_of: Callable[[Rows], Step]
    learning: Callable[[bool], object]
    """Turns dropout on or off."""
    attached: Attached | None = None
    """AdaLoRA's penalty and pruning."""

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """All that is trained, by name."""
        return {name: p for group in self.groups for name, p in group.parameters.items()}

    def penalties(self) -> list[Penalty]:
        """What the tuning method itself adds to the loss."""
        penalty = None if self.attached is None else self.attached.penalty
        return [penalty] if penalty is not None and penalty() is not None else []


def head_phase(readout: Classifier, pooled_IW: torch.Tensor, shots: Shots, recipe: Recipe) -> Phase:
    """The classification head alone, over what the network makes of each text, computed once."""
    rate = recipe.optimization.learning_rate
    return Phase(
        name="head",
        epochs=recipe.head_epochs,
        slates_per_step=recipe.slates_per_step,
        groups=[Group(dict(readout.named_parameters()), rate)],
        step_of=lambda rows: HeadStep(readout, pooled_IW, shots, rows),
        learning=readout.train,
    )


def network_phase(ranker: TextRanker, attached: Attached, shots: Shots, recipe: Recipe) -> Phase:
    """What `attached` trains of the network, and the head if the ranker has one."""
    optimization, readout = recipe.optimization, ranker.readout
    moved = recipe.adversarial.method != "none"
    head = {_READOUT + name: p for name, p in readout.named_parameters()}
    trained = {f"{_NETWORK}{n}": p for n, p in enumerate(attached.parameters())}

    def learning(on: bool) -> None:
        ranker.network.network.train(on)
        attached.drop(on=on)
        readout.train(on)

    return Phase(
        name="network",
        epochs=recipe.adapter_epochs,
        slates_per_step=recipe.adapter_slates_per_step,
        groups=[
            Group(head, HEAD_SHARE * optimization.learning_rate),
            Group(trained, optimization.encoder_learning_rate),
        ],
        step_of=lambda rows: TextStep(ranker, shots, rows, inputs_move=moved),
        learning=learning,
        attached=attached,
    )


def train(phase: Phase, shots: Shots, recipe: Recipe) -> Iterator[float | None]:
    """Run a phase; yields each epoch's mean loss, None if no shot teaches anything."""
    if phase.name == "head":
        recipe = without_inputs(recipe)
    slates, level = shots.reading.slates, dict(shots.level.named_parameters())
    steps = -(-len(trainable(slates, recipe.objective)) // phase.slates_per_step)
    groups = [{"params": list(g.parameters.values()), "lr": g.rate} for g in phase.groups]
    moved = [p for p in level.values() if p.requires_grad]
    optimizer = Optimizer(
        [*groups, {"params": moved, "lr": recipe.optimization.learning_rate}],
        recipe.optimization,
        steps * phase.epochs,
        phase=phase.name,
        after_move=None if phase.attached is None else phase.attached.after_step,
    )
    anchors = [(L2SP(g.parameters, recipe.regularize.l2_sp), g.rate) for g in phase.groups]
    penalties = [*phase.penalties(), *_consolidate(phase, shots, recipe)]
    rng = np.random.default_rng(recipe.seed)
    for _ in range(phase.epochs):
        phase.learning(True)
        losses = []
        for rows in slate_steps(slates, phase.slates_per_step, rng, recipe.objective):
            loss = _backward(phase, rows, recipe, penalties)
            factor = optimizer.step(loss)
            for anchor, rate in anchors:
                anchor.pull(rate * factor)
            losses.append(loss.item())
        phase.learning(False)
        yield float(np.mean(losses)) if losses else None


def _backward(
    phase: Phase, rows: Rows, recipe: Recipe, penalties: Sequence[Penalty]
) -> torch.Tensor:
    """Add a step's gradient to all that is trained; returns the loss."""
    step = phase.step_of(rows)
    with mixed_precision(recipe.optimization, str(step.clicked.device)):
        loss = step_loss(step, recipe, penalties)
    loss.backward()
    return loss.detach()


def _consolidate(phase: Phase, shots: Shots, recipe: Recipe) -> list[Penalty]:
    """EWC around all that is trained, as it is now, if the recipe asks for it."""
    if not recipe.regularize.ewc:
        return []
    phase.learning(False)
    plain = likelihood_alone(recipe)

    def backward_of(rows: Rows) -> Callable[[], object]:
        return lambda: step_loss(phase.step_of(rows), plain).backward()

    rng = np.random.default_rng(recipe.seed)
    single = [*slate_steps(shots.reading.slates, 1, rng, plain.objective)][:FISHER_SLATES]
    fisher = diagonal_fisher(phase.parameters, map(backward_of, single))
    shots.level.zero_grad()
    return [EWC(phase.parameters, recipe.regularize.ewc, fisher).penalty]


def copy_state(ranker: TextRanker, attached: Attached | None) -> State:
    """All that training moves, and the calibration."""
    readout = {
        _READOUT + name: value.detach().clone()
        for name, value in ranker.readout.state_dict().items()
    }
    network = {} if attached is None else attached.state()
    return {**readout, **{_NETWORK + name: value for name, value in network.items()}}


def load_state(ranker: TextRanker, attached: Attached | None, state: State) -> None:
    """Put a state that `copy_state` made in place."""
    ranker.readout.load_state_dict(_of(state, _READOUT))
    if attached is not None:
        attached.fill(network_state(state))


def network_state(state: State) -> State:
    """What a state holds of the network."""
    return _of(state, _NETWORK)


def _of(state: State, prefix: str) -> State:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def level_of(clicked_N: torch.Tensor, score_N: torch.Tensor, *, trained: bool) -> Level:
    """A level that gives the mean candidate the odds of all rows together, or one that stays 0."""
    level = Level().to(clicked_N.device).requires_grad_(trained)
    if trained:
        # Half a click and half a skip more keep the odds finite.
        odds = (clicked_N.sum() + 0.5) / ((1 - clicked_N).sum() + 0.5)
        with torch.no_grad():
            level.constant.copy_(odds.log() - score_N.mean())
    return level
