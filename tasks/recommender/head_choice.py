"""How far the head moves from the start: as far as a validation, or other users' shots, allow."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from tasks.recommender.calibration import calibrate_scores
from tasks.recommender.finetuned import Log
from tasks.recommender.head import HybridHead
from tasks.recommender.head_fit import FOLDS, cross_fitted, fit_head
from tasks.recommender.head_phase import copy_state, measure_head, train_head
from tasks.recommender.lesson import Lesson
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.propensity import judged_aucs
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import (
    SHARES,
    Candidate,
    EpochRecord,
    Run,
    State,
    between,
    keep,
    mean_auc,
    on_the_way,
)
from tasks.recommender.statistics import Ints


def choose_by_validation(
    begun: HybridHead,
    lesson: Lesson,
    validation: Prepared,
    relevant: Floats | None,
    recipe: Recipe,
    log: Log,
) -> Candidate:
    """Train the lesson's head, and keep a state that ranks the validation no worse than `begun`."""
    head = lesson.head
    measure = partial(
        measure_head, features=validation.features, slates=validation.slates, relevant=relevant
    )

    def measure_state(state: State) -> Floats:
        head.load_state_dict(state)
        return measure(head)

    start = Candidate("start", copy_state(head), measure(begun))
    log.tell(EpochRecord("start", 0, None, start.auc), 0)
    if not len(start.aucs):
        return start
    train = _fitted if recipe.head_fit == "map" else _stepped
    return keep(start, train(lesson, measure, recipe, log), measure_state)


def choose_by_other_users(
    begun: HybridHead,
    lesson: Lesson,
    users: Ints,
    relevant: Floats | None,
    recipe: Recipe,
    log: Log,
) -> Candidate:
    """Fit the head on all shots, as far from the start as fits on other users' shots allow.

    The lesson's head is left in the state that is kept, and calibrated.
    """
    head, shots = lesson.head, lesson.shots
    slates = shots.slates

    def aucs(scores_N: torch.Tensor) -> Floats:
        scores = scores_N.double().cpu().numpy()
        return judged_aucs(scores, slates.label, slates.slate, relevant)

    start = Candidate("start", copy_state(head), aucs(ranked(begun, shots)))
    log.tell(EpochRecord("start", 0, None, start.auc), 0)
    if not len(start.aucs):
        return start
    scored = cross_fitted(head, shots, lesson.labels, users, recipe)
    share = next((s for s in SHARES if aucs(scored(s)).mean() >= start.aucs.mean()), 0.0)
    fit = fit_head(head, shots, lesson.labels, recipe)
    if fit is None or not share:
        return start
    judged = aucs(scored(share))
    rows = fit.passes * (1 + FOLDS) * len(slates.slate)
    log.tell(EpochRecord("head", 1, fit.loss, mean_auc(judged)), rows)
    head.load_state_dict(between(start.state, copy_state(head), share))
    calibrate_as(head, shots, scored(share), torch.from_numpy(slates.label))
    return Candidate(on_the_way("head", share), copy_state(head), judged, share)


def calibrate_as(
    head: HybridHead, rows: Prepared, scores: torch.Tensor, clicked: torch.Tensor
) -> None:
    """Calibrate by scores of heads that were not fitted on these rows.

    Such a head knows the labels' level and another constant: what the scores have in common is
    exchanged for what `head` has.
    """
    alike = scores - scores.mean() + ranked(head, rows).mean()
    calibrate_scores(head, alike, rows.features.log_size, clicked)


@torch.no_grad()
def ranked(head: HybridHead, rows: Prepared) -> torch.Tensor:
    """(N,) what the rows are ranked by."""
    return head.eval().rank(rows.features)


def _fitted(
    lesson: Lesson, measure: Callable[[HybridHead], Floats], recipe: Recipe, log: Log
) -> Candidate | None:
    """The most probable head; None if no shot teaches anything."""
    fit = fit_head(lesson.head, lesson.shots, lesson.labels, recipe)
    if fit is None:
        return None
    aucs = measure(lesson.head)
    rows = fit.passes * len(lesson.shots.slates.slate)
    log.tell(EpochRecord("head", 1, fit.loss, mean_auc(aucs)), rows)
    return Candidate("head", copy_state(lesson.head), aucs)


def _stepped(
    lesson: Lesson, measure: Callable[[HybridHead], Floats], recipe: Recipe, log: Log
) -> Candidate | None:
    """The most trained of the epochs that rank about as well as the best."""
    run, head = Run(recipe.optimization.patience), lesson.head
    losses = train_head(head, lesson.shots, lesson.labels, recipe)
    for epoch, loss in enumerate(losses, start=1):
        aucs = measure(head)
        log.tell(EpochRecord("head", epoch, loss, mean_auc(aucs)), len(lesson.shots.slates.slate))
        run.add(Candidate(f"head, epoch {epoch}", copy_state(head), aucs))
        if run.over:
            break
    return run.most_trained()


def number_users(lesson: Lesson) -> Ints:
    """(S,) number of each slate's user."""
    codes = lesson.rows["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    slates = lesson.shots.slates
    return codes[slates.order[slates.starts]].astype(np.int64)
