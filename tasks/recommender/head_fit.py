"""Fine-tuning, first phase, in one convex fit: the most probable head, given the shots and the start.

The residual is linear in its weights, so with the start's weights w₀ as the mean of a Gaussian prior of
precision λ its posterior mode is the minimum of

    S · loss(w) + λ/2 ‖w − w₀‖²                       S: the shots that teach something

whatever their number: few shots move the start little, many move it as far as they say. Nothing is
drawn at random, and no validation is spent on when to stop. The prior stands in for `l2_sp`; EWC adds
its Fisher information to λ.

The posterior is tomorrow's prior: a head remembers the curvature H of its shots' loss at the mode, and a
head that starts from it has Λ = λ I + m H (m: `memory`) in λ's place. So a model carried on over the
days is, but for what is not quadratic, the model of all the days, at the price of the newest.

How far the score bends (the waves' precision) few shots cannot tell, and a validation of a hundred
impressions picks the lucky one. So the modes under `wave_precisions` are averaged rather than chosen from.

Where there is no validation, the shots judge for themselves by cross-fitting: each user's rows are
scored by a fit on other users' shots.

Shapes: N rows, P weights, S slates.

Source: MacKay (1992), evidence and weight decay as a Gaussian prior; Hoeting et al. (1999), averaging
over what cannot be told apart; Spiegelhalter and Lauritzen (1990),
sequential updating by Laplace's approximation; Stone (1974), cross-validation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad

from tasks.errors import ModelError
from tasks.recommender import behaviour, match
from tasks.recommender.head import NUM_MATCH, HybridHead, zero_shot_score
from tasks.recommender.head_phase import FISHER_SLATES, likelihood_alone, without_inputs
from tasks.recommender.item_prior import choose_landmarks
from tasks.recommender.labelled import Labels, label_rows, level_for, trainable
from tasks.recommender.learning.loss import step_loss
from tasks.recommender.learning.objectives import is_alone, log_softmax, sum_by_slate
from tasks.recommender.learning.penalties import diagonal_fisher
from tasks.recommender.learning.step import Affinity
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe
from tasks.recommender.slates import Slates
from tasks.recommender.statistics import Ints

FOLDS = 5
SHARPNESSES = (0.0, 5.0, 10.0, 20.0)
FADINGS = (0.0, 0.5, 1.0)
ATTENTION_SLATES = 256
"""Shots, evenly drawn, that the attention is chosen on."""
IN_ZERO_SHOT = [
    *range(NUM_MATCH),
    *(NUM_MATCH + behaviour.NAMES.index(name) for name in behaviour.USER_RATES),
]
"""Features that the zero-shot score weighs already: what they are worth is known well."""
ZERO_SHOT_PRECISION = 100.0
"""Of their weights: a correction of a tenth of log-odds a deviation is expected."""
BEHAVIOUR_PRECISION = 1.0
"""Of the weights of behaviour statistics, of which the zero-shot score makes nothing."""
OPINION_PRECISION = 2.0
"""Of the item prior: opinions of items differ by about half a unit of log-odds."""
LEVEL_PRECISION = 0.01
"""Of the constant: it is free but for staying finite."""


@dataclass
class Design:
    """The shots as a linear model sees them."""

    columns: torch.Tensor
    """(N, P) what each weight is multiplied by."""
    base: torch.Tensor
    """(N,) the start's level and zero-shot score: what the weights are added to."""
    log_size: torch.Tensor
    slates: Slates
    labels: Labels


class Fit(NamedTuple):
    """A posterior mode, or the mean of several."""

    weights: torch.Tensor
    """(P + 2,) the residual's, and the level's."""
    loss: float
    """Of the labels and the recipe's terms, without the prior; mean over the modes."""
    passes: int
    """How often the shots were gone through."""


class DesignStep:
    """All of some slates in one step, as `step_loss` sees it."""

    def __init__(self, design: Design, weights: torch.Tensor, chosen: Ints) -> None:
        place = np.full(len(design.slates.history), -1)
        place[chosen] = np.arange(len(chosen))
        rows = np.flatnonzero(place[design.slates.slate] >= 0)
        index = torch.from_numpy(rows)
        mine = design.labels.rows(index)
        self.clicked, self.weight, self.start = mine.clicked, mine.weight, mine.start
        device = self.clicked.device
        self.slate = torch.from_numpy(place[design.slates.slate[rows]]).to(device)
        self.num_slates = len(chosen)
        self.weights = weights
        index = index.to(device)
        self.columns, self._base = design.columns[index], design.base[index]
        self._level = torch.stack([torch.ones_like(self._base), design.log_size[index]], dim=1)

    def inputs(self) -> torch.Tensor:
        """Nothing: what the items' vectors gave was computed once."""
        return torch.empty(0)

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N,) logits under the weights as they are now."""
        num = self.columns.shape[1]
        return self._base + self.columns @ self.weights[:num] + self._level @ self.weights[num:]

    def affinity(self, inputs: torch.Tensor) -> Affinity:
        """Never: no vector moves in this phase."""
        raise ModelError("contrast.info_nce needs vectors that move: set it to 0.")

    def views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Never: no text is encoded in this phase."""
        raise ModelError("contrast.simcse needs texts that are encoded: set it to 0.")


def set_up(head: HybridHead, shots: Prepared, recipe: Recipe) -> None:
    """Choose what the weights of an untrained head will stand on: scale, attention, landmarks."""
    chosen = trainable(shots.slates, recipe.objective)
    head.standardise_on(shots.features)
    _choose_attention(head, shots, chosen, recipe)
    head.standardise_on(shots.features)
    if bool(shots.features.matches.disliked.any()):
        head.rated.fill_(1.0)
        judged = shots.slates.candidate[shots.known[shots.slates.candidate]]
        landmarks = shots.features.vectors[torch.from_numpy(choose_landmarks(judged))]
        head.set_landmarks(landmarks)
    head.forget()


def fit_head(head: HybridHead, shots: Prepared, labels: Labels, recipe: Recipe) -> Fit | None:
    """Move `head` to the mean of its posterior modes; None if nothing is to be learned."""
    chosen = trainable(shots.slates, recipe.objective)
    if not len(chosen) or not recipe.head_epochs:
        return None
    design = make_design(head, shots, labels, recipe)
    fit = _mean_mode(design, _weights(head), chosen, recipe, _priors(head, recipe))
    _set_weights(head, fit.weights)
    learned = _information(design, fit.weights, chosen, recipe)
    head.information.mul_(recipe.memory).add_(_as_stored(learned, head.information))
    return fit


def cross_fitted(
    head: HybridHead,
    shots: Prepared,
    labels: Labels,
    groups: Ints,
    recipe: Recipe,
) -> Callable[[float], torch.Tensor]:
    """Scores of the shots by heads that were fitted on the shots of other users.

    Args:
        head: the start; not changed.
        shots: the rows.
        labels: what they say.
        groups: (S,) the user of each slate.
        recipe: as for `fit_head`.

    Returns:
        (N,) scores, at any share of the way from the start to the fits.
    """
    design = make_design(head, shots, labels, recipe)
    start = _weights(head)
    num, priors = len(start), _priors(head, recipe)
    moved, mean = torch.zeros_like(design.base), design.columns.mean(0)
    fold = np.random.default_rng(recipe.seed).permutation(int(groups.max()) + 1)[groups] % FOLDS
    chosen = trainable(shots.slates, recipe.objective)
    for number in range(FOLDS):
        others = chosen[fold[chosen] != number]
        if len(others):
            weights = _mean_mode(design, start, others, recipe, priors).weights
            rows = torch.from_numpy(np.flatnonzero(fold[shots.slates.slate] == number))
            rows = rows.to(moved.device)
            away = weights[:num] - start
            # A constant ranks nothing, but would tell the folds apart.
            moved[rows] = (design.columns[rows] - mean) @ away
    begun = design.base + design.columns @ start
    return lambda share: begun + share * moved


@torch.no_grad()
def make_design(head: HybridHead, shots: Prepared, labels: Labels, recipe: Recipe) -> Design:
    """The columns of the residual's weights, and what they are added to."""
    head.eval()
    features = shots.features
    columns = head.design(features)
    level = level_for(head, shots, recipe.objective)
    base = zero_shot_score(features, rated=head.rated) + level(features)
    return Design(columns, base, features.log_size, shots.slates, labels)


def _mean_mode(
    design: Design,
    start: torch.Tensor,
    chosen: Ints,
    recipe: Recipe,
    priors: Sequence[torch.Tensor],
) -> Fit:
    """The mean of the modes under several priors: that of the models, for the score is linear in them."""
    fits = [_posterior_mode(design, start, chosen, recipe, prior) for prior in priors]
    return Fit(
        torch.stack([fit.weights for fit in fits]).mean(0),
        sum(fit.loss for fit in fits) / len(fits),
        sum(fit.passes for fit in fits),
    )


def _posterior_mode(
    design: Design, start: torch.Tensor, chosen: Ints, recipe: Recipe, prior: torch.Tensor
) -> Fit:
    """The fit under a prior of precision `prior`, (P + 2,) or (P + 2, P + 2), around `start`."""
    recipe = without_inputs(recipe)
    centre = torch.cat([start, start.new_zeros(2)])
    if recipe.regularize.ewc:
        fisher = len(chosen) * recipe.regularize.ewc * _fisher(design, centre, chosen, recipe)
        prior = prior + (fisher if prior.ndim == 1 else torch.diag(fisher))
    away = torch.zeros_like(centre, requires_grad=True)
    pull = _Pull(prior)
    optimizer = torch.optim.LBFGS(
        [away],
        max_iter=recipe.head_epochs,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-7,
    )
    step = DesignStep(design, centre, chosen)

    def labels() -> torch.Tensor:
        step.weights = centre + pull.moved(away)
        return step_loss(step, recipe)

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        loss = labels() + pull.penalty(away) / step.num_slates
        loss.backward()
        return loss

    optimizer.step(objective)
    with torch.no_grad():
        loss = labels()
    if not bool(torch.isfinite(loss)):
        raise ModelError(
            f"The head's loss is {loss.item()}: the fit diverged. "
            "Look for broken values in the day's features."
        )
    return Fit(step.weights, float(loss), optimizer.state[away]["func_evals"])


class _Pull:
    """A Gaussian prior on how far the weights move, and the units in which the move is searched.

    Weights of their own precision are moved as they are; where a matrix ties them together, in units of
    the prior's deviations, in which all directions are alike: Δw = L⁻ᵀ u with Λ = L Lᵀ.
    """

    def __init__(self, precision: torch.Tensor) -> None:
        self._single = precision if precision.ndim == 1 else None
        self._factor = torch.linalg.cholesky(precision.double()) if precision.ndim == 2 else None

    def moved(self, away: torch.Tensor) -> torch.Tensor:
        """(P + 2,) by how much each weight moves."""
        if self._factor is None:
            return away
        solved = torch.linalg.solve_triangular(self._factor.T, away.double()[:, None], upper=True)
        return solved[:, 0].to(away.dtype)

    def penalty(self, away: torch.Tensor) -> torch.Tensor:
        """Half the squared length of the move under the precision."""
        squared = away**2 if self._single is None else self._single * away**2
        return squared.sum() / 2


def _priors(head: HybridHead, recipe: Recipe) -> list[torch.Tensor]:
    """One for each of `wave_precisions`; a head that has learned brings what it knows of waves along."""
    loosest = (min(recipe.wave_precisions),)
    tried = recipe.wave_precisions if head.untrained else loosest
    return [_prior(head, waves, recipe) for waves in tried]


def _prior(head: HybridHead, waves: float, recipe: Recipe) -> torch.Tensor:
    """The precision of each weight, and of the level: of an untrained head, (P + 2,); else with what
    it has learned, (P + 2, P + 2) where it remembers how its weights go together."""
    linear = torch.full_like(head.linear, BEHAVIOUR_PRECISION)
    linear[IN_ZERO_SHOT] = ZERO_SHOT_PRECISION
    mixed = torch.full_like(head.mixed, waves)
    opinion = torch.full_like(head.opinion, OPINION_PRECISION)
    level = torch.full_like(head.linear[:2], LEVEL_PRECISION)
    known = torch.cat([linear, mixed, opinion, level]).detach()
    learned = recipe.memory * head.information
    if head.untrained or not bool(learned.any()):
        return known
    if learned.ndim == 1:
        return known + pad(learned, (0, 2))
    return torch.diag(known) + pad(learned, (0, 2, 0, 2))


@torch.no_grad()
def _information(
    design: Design, weights: torch.Tensor, chosen: Ints, recipe: Recipe
) -> torch.Tensor:
    """(P, P) curvature of S · loss in the residual's weights: Σ_s X̃ᵀ diag(p) X̃.

    With p the softmax over the slate and X̃ the columns less their mean under it; a candidate that
    comes alone, or every one under the pointwise loss, gives p (1 − p) x xᵀ. BPR is taken for listwise.
    """
    step = DesignStep(design, weights, chosen)
    logits, columns = step.score(step.inputs()), step.columns
    alone = is_alone(step.slate, step.num_slates) | (recipe.objective.loss == "pointwise")
    share = log_softmax(logits, step.slate, step.num_slates).exp()
    clicks = sum_by_slate(step.clicked, step.slate, step.num_slates)
    told = sum_by_slate(step.clicked * step.weight, step.slate, step.num_slates)
    mean = columns.new_zeros(step.num_slates, columns.shape[1])
    mean.index_add_(0, step.slate, columns * share.unsqueeze(1))
    odds = logits.sigmoid()
    size = torch.where(
        alone, odds * (1 - odds) * step.weight, share * (told / clicks.clamp(min=1))[step.slate]
    )
    if recipe.objective.loss == "pointwise":
        size = size * step.num_slates / len(size)  # its loss is a mean over rows
    spread = columns - mean[step.slate] * (~alone).unsqueeze(1)
    return (spread * size.unsqueeze(1)).T @ spread


def _as_stored(learned: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    return learned.diagonal() if kept.ndim == 1 else learned


def _fisher(design: Design, prior: torch.Tensor, chosen: Ints, recipe: Recipe) -> torch.Tensor:
    """(P + 2,) what the labels say of each weight at the start, for EWC: a precision like any other."""
    weights = torch.nn.Parameter(prior.clone())
    plain = likelihood_alone(recipe)

    def backward_of(slate: Ints) -> Callable[[], object]:
        return lambda: step_loss(DesignStep(design, weights, slate), plain).backward()

    drawn = np.random.default_rng(recipe.seed).permutation(chosen)[:FISHER_SLATES]
    single = map(backward_of, drawn.reshape(-1, 1))
    fisher = diagonal_fisher({"weights": weights}, single)["weights"]
    fisher[-2:] = 0.0  # the level is nobody's start
    return fisher


def _choose_attention(head: HybridHead, shots: Prepared, chosen: Ints, recipe: Recipe) -> None:
    """The sharpness and fading under which attention alone explains the shots best.

    On a grid, for the loss is not convex in them; what they are worth is weighed afterwards.
    """
    if not len(chosen) or not bool(shots.features.matches.liked.any()):
        return
    loose = torch.tensor([1.0, LEVEL_PRECISION, LEVEL_PRECISION], device=head.linear.device)
    rng = np.random.default_rng(recipe.seed)
    few = np.sort(rng.permutation(chosen)[:ATTENTION_SLATES])
    rows = torch.from_numpy(np.flatnonzero(np.isin(shots.slates.slate, few)))
    matches = shots.features.matches.rows(rows.to(head.linear.device))
    labels = label_rows(head, shots, likelihood_alone(recipe), np.ones(len(shots.slates.slate)))
    found = []
    for sharpness in SHARPNESSES:
        for fading in FADINGS:
            at = head.sharpness.new_tensor(sharpness), head.sharpness.new_tensor(fading)
            attention = match.attended(matches, *at)
            spread = attention.std().clamp(min=1e-3)
            full = torch.zeros(len(shots.slates.slate), 1, device=head.linear.device)
            full[rows, 0] = (attention - attention.mean()) / spread
            none = torch.zeros_like(full[:, 0])
            design = Design(full, none, none, shots.slates, labels)
            start = full.new_zeros(1)
            fit = _posterior_mode(design, start, few, likelihood_alone(recipe), loose)
            found.append((fit.loss, sharpness, fading))
    _, sharpness, fading = min(found)
    with torch.no_grad():
        head.sharpness.fill_(sharpness)
        head.fading.fill_(fading)


def _weights(head: HybridHead) -> torch.Tensor:
    return torch.cat([head.linear, head.mixed, head.opinion]).detach()


@torch.no_grad()
def _set_weights(head: HybridHead, weights: torch.Tensor) -> None:
    sizes = [len(head.linear), len(head.mixed), len(head.opinion)]
    parts = weights[: sum(sizes)].split(sizes)
    for parameter, part in zip((head.linear, head.mixed, head.opinion), parts, strict=True):
        parameter.copy_(part)
