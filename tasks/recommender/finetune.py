"""Few-shot fine-tuning of the hybrid ranker: first the head, then adapter and head together."""

from contextlib import nullcontext
from dataclasses import replace

import pyarrow as pa
import torch

from tasks.recommender.adapter_candidates import HEAD, AdapterCandidates
from tasks.recommender.calibration import calibrate
from tasks.recommender.context import Context
from tasks.recommender.encoder import Encoder
from tasks.recommender.finetuned import Finetuned, Log, Progress
from tasks.recommender.head import HybridHead
from tasks.recommender.head_choice import (
    calibrate_as,
    choose_by_other_users,
    choose_by_validation,
    number_users,
    ranked,
)
from tasks.recommender.head_fit import fit_head
from tasks.recommender.head_phase import copy_state, measure_head, one_thread
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.labelled import trainable
from tasks.recommender.lesson import Lesson, prepare_lesson
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.propensity import row_relevance
from tasks.recommender.recipe import Recipe
from tasks.recommender.recipe_check import require_sense, trains_network
from tasks.recommender.selection import Candidate, EpochRecord, between, clearly_below, mean_auc
from tasks.recommender.unroll import unroll

FEWEST_JUDGES = 25
"""Impressions below which a validation judges no network: the error of their AUC is 0.06."""
FEWEST_HEAD_JUDGES = 100
"""Impressions below which shots judge a head better, by cross-fitting: there are six times as many.
On a day of MIND whose validation had 38, it kept the zero-shot score for two draws of 256 shots in eight,
though the head was worth 0.13 of AUC."""
SINGLES_A_SLATE = 4
"""Impressions of one candidate that judge as well as one of several, which brings its own comparison."""


def finetune(
    start: HybridRanker,
    shots: pa.Table,
    validation: pa.Table,
    context: Context,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> Finetuned:
    """Move `start` by what `shots` show; `validation` decides how far.

    What has judged may teach afterwards: it is the newest there is. So a head that the validation approved
    of is fitted once more with it among the shots (`learn_validation`), as far from the start as was
    approved of.

    Args:
        start: the zero-shot ranker, or an earlier champion. It is not changed.
        shots: labelled rows of whole impressions. A column `weight`, where there is one, says how
            much each counts in the loss, such as an inverse propensity; null counts 1.
        validation: the same, later in time than every shot. With a column `relevance` it is what
            has to be ranked first, instead of clicks (`judged_aucs`). Without any impression that holds a
            click and a skip, or impressions of one candidate of both kinds, nothing can show that
            training helped, and the start is kept. Fewer than FEWEST_JUDGES impressions judge
            nothing, and fewer than FEWEST_HEAD_JUDGES no head: where the head alone is trained
            they are shots then. The shots judge by cross-fitting.
        context: catalogue, hourly counts, past clicks.
        recipe: the knobs.
        progress: called after every epoch.

    Returns:
        A ranker whose mean AUC, on `validation` or on the shots of users it had not seen, was not below
        the start's.

    Raises:
        ModelError: the recipe contradicts itself, training diverged, or rows lack columns.
    """
    log = Log(progress)
    require_sense(recipe)
    everything = pa.concat_tables([shots, validation], promote_options="permissive")
    few = _shots_judge_heads(recipe) and count_judges(validation) < FEWEST_HEAD_JUDGES
    # A head that is all there is to choose is judged by its shots, and learns from the validation too.
    shots_suffice = few and recipe.learn_validation and not trains_network(recipe)
    judged = can_judge(validation, recipe) and not shots_suffice
    learned = shots if judged else everything
    if not len(learned) or not (len(validation) or recipe.head_fit == "map"):
        return log.finish(start, "start", None)
    if not judged:
        return _without_validation(
            start, prepare_lesson(start, learned, context, recipe), recipe, log
        )
    whole, taught, held = _prepared(start, everything, validation, context)
    lesson = prepare_lesson(start, shots, context, recipe, taught)
    relevant = row_relevance(validation, held.slates.order)
    # Dropout draws from the process's generator.
    threads = one_thread() if recipe.head_fit == "steps" else nullcontext()
    with torch.random.fork_rng(), threads:
        torch.manual_seed(recipe.seed)
        if few:
            kept = _choose_by_shots(start, lesson, held, relevant, recipe, log)
        else:
            kept = choose_by_validation(start.head, lesson, held, relevant, recipe, log)
    lesson.head.load_state_dict(kept.state)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        joint = _run_adapter_phase(start.encoder, lesson, held, relevant, recipe, log)
    if joint is not None:
        return log.finish(joint[0], joint[1].words, joint[1].auc)
    if kept.words == "start":
        return log.finish(start, kept.words, kept.auc)
    head = lesson.head
    if recipe.head_fit == "map" and recipe.learn_validation:
        lesson = prepare_lesson(start, everything, context, recipe, whole)
        head = _fit_again(lesson, head, kept, held, recipe, log)
    else:
        calibrate(head.eval(), held.features, torch.from_numpy(held.slates.label))
    return log.finish(HybridRanker(start.encoder, head), kept.words, kept.auc)


def _prepared(
    start: HybridRanker, everything: pa.Table, validation: pa.Table, context: Context
) -> tuple[Prepared | None, Prepared | None, Prepared]:
    """All rows, the shots and the validation, prepared at once: no row's features depend on the others.

    Where histories are unrolled a lesson has more rows than the shots, and prepares them: None.
    """
    if len(unroll(everything)):
        return None, None, start.prepare(validation, context)
    whole = start.prepare(everything, context)
    return whole, *whole.split(len(everything) - len(validation))


def _shots_judge_heads(recipe: Recipe) -> bool:
    """Whether a head is fitted at once, and the shots are a fair sample of the log.

    Of hard negatives, or of the impressions that the start is least sure of, the start is the worst
    judged ranker there is: a head that turns it round looks good there, and nowhere else.
    """
    chosen = recipe.selection
    fair = chosen.policy in ("recent", "random") and not (chosen.negatives and chosen.hardness)
    return recipe.head_fit == "map" and fair


def can_judge(validation: pa.Table, recipe: Recipe) -> bool:
    """Whether the validation tells states of a network apart; else its impressions are shots."""
    return recipe.head_fit == "steps" or count_judges(validation) >= FEWEST_JUDGES


def count_judges(validation: pa.Table) -> float:
    """Impressions of several candidates, and what those of one candidate are worth beside them."""
    rows = validation["impression_id"].combine_chunks().value_counts().field("counts").to_numpy()
    slates = int((rows > 1).sum())
    return slates + (len(rows) - slates) / SINGLES_A_SLATE


def _choose_by_shots(
    start: HybridRanker,
    lesson: Lesson,
    validation: Prepared,
    relevant: Floats | None,
    recipe: Recipe,
    log: Log,
) -> Candidate:
    """What cross-fitting allows, with the validation's AUCs: a network is held against those."""

    def measure(head: HybridHead) -> Floats:
        return measure_head(head, validation.features, validation.slates, relevant)

    own = Log(None)
    kept = _by_cross_fitting(start, lesson, recipe, own)
    begun = measure(start.head)
    log.tell(EpochRecord("start", 0, None, mean_auc(begun)), 0)
    if kept.words == "start":
        return replace(kept, aucs=begun)
    aucs = measure(lesson.head)
    log.tell(replace(own.epochs[-1], validation_auc=mean_auc(aucs)), own.rows)
    return replace(kept, aucs=aucs)


def _by_cross_fitting(start: HybridRanker, lesson: Lesson, recipe: Recipe, log: Log) -> Candidate:
    relevant = row_relevance(lesson.rows, lesson.shots.slates.order)
    users = number_users(lesson)
    return choose_by_other_users(start.head, lesson, users, relevant, recipe, log)


def _without_validation(start: HybridRanker, lesson: Lesson, recipe: Recipe, log: Log) -> Finetuned:
    kept = _by_cross_fitting(start, lesson, recipe, log)
    ranker = start if kept.words == "start" else HybridRanker(start.encoder, lesson.head)
    return log.finish(ranker, kept.words, kept.auc)


def _fit_again(
    lesson: Lesson,
    approved: HybridHead,
    kept: Candidate,
    held: Prepared,
    recipe: Recipe,
    log: Log,
) -> HybridHead:
    """The head of all shots, the validation's among them, calibrated by what `approved` says of those."""
    head, begun = lesson.head, copy_state(lesson.head)
    fit = fit_head(head, lesson.shots, lesson.labels, recipe)
    assert fit is not None, "the shots alone have taught something"
    log.tell(EpochRecord("head", 2, fit.loss, None), fit.passes * len(lesson.shots.slates.slate))
    head.load_state_dict(between(begun, copy_state(head), kept.share))
    calibrate_as(head, held, ranked(approved, held), torch.from_numpy(held.slates.label))
    return head


def _run_adapter_phase(
    encoder: Encoder,
    lesson: Lesson,
    validation: Prepared,
    relevant: Floats | None,
    recipe: Recipe,
    log: Log,
) -> tuple[HybridRanker, Candidate] | None:
    """Train adapter and head together; None unless that is clearly better than the head alone.

    An adapter that is kept makes every cached embedding stale, so it has to earn that.
    """
    head, shots, labels, _ = lesson
    if not trains_network(recipe) or not len(trainable(shots.slates, recipe.objective)):
        return None
    tried = AdapterCandidates(encoder, head, shots, labels, validation, relevant, recipe, log.tell)
    run, best = tried.run, None
    alone = tried.measure(run)
    for candidate in tried.all():
        aucs = candidate.aucs
        if clearly_below(alone, aucs) and (best is None or aucs.mean() > best.aucs.mean()):
            best = candidate
    if best is None:
        return None
    run.head.load_state_dict({name: best.state[HEAD + name] for name in run.head.state_dict()})
    adapter = {name: value for name, value in best.state.items() if not name.startswith(HEAD)}
    run.encoder.set_adapter(adapter, run.encoder.tuning)
    clicked = torch.from_numpy(run.validation.slates.label)
    calibrate(run.head.eval(), run.validation_features(), clicked)
    return HybridRanker(run.encoder, run.head), best
