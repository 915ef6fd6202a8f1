"""Fine-tuning, first phase: the head alone, over features computed once.

Shapes: N rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from tasks.errors import ModelError
from tasks.recommender.head import Features, HybridHead
from tasks.recommender.labelled import Labels, Rows, level_for, slate_steps, trainable
from tasks.recommender.learning.loss import Penalty, step_loss
from tasks.recommender.learning.optimizer import Optimizer
from tasks.recommender.learning.penalties import EWC, L2SP, diagonal_fisher
from tasks.recommender.learning.step import Affinity
from tasks.recommender.level import Level
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.propensity import judged_aucs
from tasks.recommender.recipe import Adversarial, Contrast, Objective, Recipe, Regularize
from tasks.recommender.selection import State
from tasks.recommender.slates import Slates

UNITS_OF_COSINE = ("sharpness", "fading")
"""Weights of the head that have to travel further than others do."""
FISHER_SLATES = 256
"""Most slates, evenly drawn, that EWC's Fisher information is estimated on; one pass back each."""


class HeadStep:
    """Some slates under the head; the features are constants."""

    def __init__(
        self, head: HybridHead, level: Level, features: Features, labels: Labels, rows: Rows
    ) -> None:
        index, slate, self.num_slates = rows
        mine = labels.rows(index)
        self.clicked, self.weight, self.start = mine.clicked, mine.weight, mine.start
        self.slate = slate.to(self.clicked.device)
        self._head, self._level = head, level
        self._features = features.rows(index)

    def inputs(self) -> torch.Tensor:
        """Nothing: what the items' vectors gave was computed once."""
        return torch.empty(0)

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N,) logits; only the head's dropout differs from call to call."""
        return self._head.rank(self._features) + self._level(self._features)

    def affinity(self, inputs: torch.Tensor) -> Affinity:
        """Never: no vector moves in this phase."""
        raise _no_vectors("contrast.info_nce")

    def views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Never: no text is encoded in this phase."""
        raise _no_vectors("contrast.simcse")


def train_head(
    head: HybridHead, shots: Prepared, labels: Labels, recipe: Recipe
) -> Iterator[float | None]:
    """Train `head` in place; yields each epoch's mean loss, None if no shot teaches anything."""
    recipe = without_inputs(recipe)
    optimization = recipe.optimization
    level = level_for(head, shots, recipe.objective)
    groups = head_groups(head, level, optimization.learning_rate)
    slates = len(trainable(shots.slates, recipe.objective))
    steps = -(-slates // recipe.slates_per_step) * recipe.head_epochs
    optimizer = Optimizer(groups, optimization, steps)
    start = L2SP(residual_parameters(head), recipe.regularize.l2_sp)
    penalties = _consolidate(head, level, shots, labels, recipe)
    rng = np.random.default_rng(recipe.seed)
    for _ in range(recipe.head_epochs):
        head.train()
        losses = []
        for rows in slate_steps(shots.slates, recipe.slates_per_step, rng, recipe.objective):
            step = HeadStep(head, level, shots.features, labels, rows)
            loss = step_loss(step, recipe, penalties)
            loss.backward()
            start.pull(optimization.learning_rate * optimizer.step(loss))
            losses.append(loss.item())
        yield float(np.mean(losses)) if losses else None


def without_inputs(recipe: Recipe) -> Recipe:
    """The recipe without the terms that move a vector: for a phase whose features are constants."""
    return replace(recipe, adversarial=Adversarial(), contrast=Contrast())


def likelihood_alone(recipe: Recipe) -> Recipe:
    """The recipe whose loss is a slate's negative log-likelihood and nothing else."""
    plain = Objective(loss=recipe.objective.loss)
    return replace(without_inputs(recipe), objective=plain, regularize=Regularize())


def _consolidate(
    head: HybridHead, level: Level, shots: Prepared, labels: Labels, recipe: Recipe
) -> list[Penalty]:
    """EWC around the head as it is now, if the recipe asks for it."""
    if not recipe.regularize.ewc:
        return []
    head.eval()
    plain = likelihood_alone(recipe)

    def backward_of(rows: Rows) -> Callable[[], object]:
        step = HeadStep(head, level, shots.features, labels, rows)
        return lambda: step_loss(step, plain).backward()

    rng = np.random.default_rng(recipe.seed)
    single = [*slate_steps(shots.slates, 1, rng, plain.objective)][:FISHER_SLATES]
    parameters = dict(head.named_parameters())
    fisher = diagonal_fisher(parameters, map(backward_of, single))
    level.zero_grad()
    return [EWC(parameters, recipe.regularize.ewc, fisher).penalty]


def residual_parameters(head: HybridHead) -> dict[str, torch.nn.Parameter]:
    """The weights of the residual, which L2-SP pulls back."""
    return {name: p for name, p in head.named_parameters() if name not in UNITS_OF_COSINE}


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


def head_groups(head: HybridHead, level: Level, rate: float) -> list[dict[str, object]]:
    """Optimizer groups of the head's parameters, and of the level where it is trained."""
    far = [p for name, p in head.named_parameters() if name in UNITS_OF_COSINE]
    far += [p for p in level.parameters() if p.requires_grad]
    return [
        {"params": list(residual_parameters(head).values()), "lr": rate},
        {"params": far, "lr": 10 * rate},
    ]


@torch.inference_mode()
def measure_head(
    head: HybridHead, features: Features, slates: Slates, relevant: Floats | None = None
) -> Floats:
    """(V,) how well the slates are ranked, by what `head` makes of `features`.

    Args:
        head: what ranks.
        features: of the rows.
        slates: of the rows.
        relevant: (N,) what is to be ranked first; None is what was clicked.
    """
    if not len(slates.slate):
        return np.empty(0)
    head.eval()
    scores = head.rank(features).double().cpu().numpy()
    return judged_aucs(scores, slates.label, slates.slate, relevant)


def copy_state(head: HybridHead) -> State:
    """The head's numbers, detached from what happens to them next."""
    return {name: value.detach().clone() for name, value in head.state_dict().items()}


def _no_vectors(term: str) -> ModelError:
    return ModelError(
        f"{term} needs vectors that training moves, and the head's phase has none. "
        "It belongs to the phase that trains the network: set adapter_epochs above 0."
    )
