"""Few-shot fine-tuning of a ranker of texts: ask with worked examples, or train head and network."""

from collections.abc import Callable
from copy import deepcopy

import pyarrow as pa
import torch

from tasks.errors import ModelError
from tasks.recommender.calibration import calibrate_scores
from tasks.recommender.context import Context
from tasks.recommender.encoder import FREQUENT_WORDS, require_same
from tasks.recommender.finetuned import Finetuned, Log, Progress
from tasks.recommender.head_phase import one_thread
from tasks.recommender.labelled import trainable
from tasks.recommender.losses import Floats
from tasks.recommender.propensity import judged_aucs, row_relevance
from tasks.recommender.rankers.cross_encoder import pool_texts
from tasks.recommender.rankers.in_context import draw_examples
from tasks.recommender.rankers.prompt import Questioning
from tasks.recommender.rankers.ranker import TextRanker, Weights
from tasks.recommender.rankers.reading import Reading
from tasks.recommender.rankers.readout import Classifier, Readout
from tasks.recommender.rankers.text_shots import bounded_shots, bounded_validation, label_texts
from tasks.recommender.rankers.text_step import Shots
from tasks.recommender.rankers.text_training import (
    Phase,
    copy_state,
    head_phase,
    load_state,
    network_phase,
    network_state,
    train,
)
from tasks.recommender.recipe import Recipe
from tasks.recommender.recipe_check import require_sense, trains_network
from tasks.recommender.selection import Candidate, EpochRecord, Run, State, keep, mean_auc
from tasks.recommender.tuning.attached import Attached

Measure = Callable[[State], Floats]
"""The validation's AUCs under a state."""


def finetune_texts(
    start: TextRanker,
    shots: pa.Table,
    validation: pa.Table,
    context: Context,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> Finetuned:
    """Move `start` by what `shots` show; `validation` decides how far, and calibrates.

    Each text costs a pass of the network, so at most `adapter_slates` impressions are trained on, the
    newest, each with at most `adapter_negatives` skips; as many rows of the newest validation
    impressions, which stay whole, decide.

    Args:
        start: the zero-shot ranker, or an earlier champion. It is not changed.
        shots: labelled rows of whole impressions, perhaps with a column `weight` of each in the loss.
        validation: the same, later in time than every shot; a column `relevance` is what has to be
            ranked first, instead of clicks.
        context: catalogue and past clicks.
        recipe: the knobs; `ranker` is that of `start`.
        progress: called after every epoch.

    Returns:
        A ranker whose mean AUC on the validation is not below the start's.

    Raises:
        ModelError: the recipe asks for what this ranker has not, or training diverged.
    """
    _require_sense(start, recipe)
    log = Log(progress)
    shots = bounded_shots(shots, recipe)
    held = bounded_validation(validation, recipe)
    if not len(shots) or not len(held):
        return log.finish(start, "start", None)
    session = _Session(start, held, context, recipe, log)
    if not len(session.start.aucs):
        return log.finish(start, "start", None)
    if isinstance(start.task, Questioning) and start.task.settings.mode != "tuned":
        ranker, kept = _ask(session, start.task, shots, held, context)
    else:
        # Dropout draws from the process's generator.
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            ranker, kept = _train(session, shots, context)
    calibrated = _calibrated(ranker, ranker.read(held, context))
    return log.finish(calibrated, kept.words, kept.auc)


class _Session:
    """What both phases share: the start, the validation, the recipe, and the log."""

    def __init__(
        self, ranker: TextRanker, rows: pa.Table, context: Context, recipe: Recipe, log: Log
    ) -> None:
        self.ranker, self.recipe, self.log = ranker, recipe, log
        self.held = ranker.read(rows, context)
        self._relevant = row_relevance(rows, self.held.slates.order)
        self.start = Candidate("start", {}, self.aucs(ranker.rank(self.held)))
        log.tell(EpochRecord("start", 0, None, self.start.auc), 0)

    def aucs(self, scores: Floats) -> Floats:
        """(V,) how well each slate of the validation is ranked by (N,) `scores` in its order."""
        slates = self.held.slates
        return judged_aucs(scores, slates.label, slates.slate, self._relevant)


def _ask(
    session: _Session, task: Questioning, shots: pa.Table, held: pa.Table, context: Context
) -> tuple[TextRanker, Candidate]:
    """The start; or the start with worked examples, where that ranks the validation no worse."""
    ranker, settings = session.ranker, task.settings
    if settings.mode == "zero_shot":
        return ranker, session.start
    examples = draw_examples(
        task, shots, context, number=settings.examples, seed=session.recipe.seed
    )
    if not examples:
        return ranker, session.start
    asking = Questioning(task.base, settings, task.template, examples)
    shown = TextRanker(asking, deepcopy(ranker.readout), ranker.weights)
    reading = shown.read(held, context)
    aucs = session.aucs(shown.rank(reading))
    kept = Candidate(f"in context, {len(examples)} examples", {}, aucs)
    session.log.tell(EpochRecord("in context", 0, None, kept.auc), len(examples))
    return (shown, kept) if aucs.mean() >= session.start.aucs.mean() else (ranker, session.start)


def _train(session: _Session, shots: pa.Table, context: Context) -> tuple[TextRanker, Candidate]:
    """Train the head over what the network makes of each text; then network and head together."""
    start, recipe = session.ranker, session.recipe
    own = TextRanker(start.task, _trainable_readout(start, recipe), start.weights)
    reading = own.read(shots, context)
    if not len(trainable(reading.slates, recipe.objective)):
        return start, session.start
    labelled = label_texts(own, reading, shots, recipe)
    kept = session.start
    if isinstance(own.readout, Classifier) and recipe.head_epochs:
        kept = _train_head(session, own, own.readout, labelled, kept)
    best = start if kept.words == "start" else _copy(own, own.weights)
    if not trains_network(recipe):
        return best, kept
    joint = _train_network(session, own, labelled, kept)
    if joint is kept:
        return best, kept
    return _copy(own, Weights(recipe.tuning, network_state(joint.state))), joint


def _train_head(
    session: _Session, own: TextRanker, readout: Classifier, shots: Shots, before: Candidate
) -> Candidate:
    """Train the head alone, and leave in `own` what is kept of it."""
    held = session.held
    pooled, pooled_held = pool_texts(own, shots.reading), pool_texts(own, held)

    def measure(state: State) -> Floats:
        load_state(own, None, state)
        with torch.inference_mode():
            logits = readout.eval()(pooled_held).double().cpu().numpy()
        return session.aucs(logits[held.text] + held.match)

    phase = head_phase(readout, pooled, shots, session.recipe)
    with one_thread():
        return _run(session, own, None, phase, shots, before, measure)


def _train_network(
    session: _Session, own: TextRanker, shots: Shots, before: Candidate
) -> Candidate:
    """Train the network, and the head with it; `before` itself where that is kept."""
    recipe = session.recipe
    (frequent,) = own.task.tokens.ids([FREQUENT_WORDS])
    attached = own.train_network(recipe.tuning, recipe.seed, frequent)

    def measure(state: State) -> Floats:
        load_state(own, attached, state)
        return session.aucs(own.rank(session.held))

    phase = network_phase(own, attached, shots, recipe)
    return _run(session, own, attached, phase, shots, before, measure)


def _run(
    session: _Session,
    own: TextRanker,
    attached: Attached | None,
    phase: Phase,
    shots: Shots,
    before: Candidate,
    measure: Measure,
) -> Candidate:
    """Run a phase, and leave in `own` a state that ranks the validation no worse than `before`."""
    run = Run(session.recipe.optimization.patience)
    begun = copy_state(own, attached)
    for epoch, loss in enumerate(train(phase, shots, session.recipe), start=1):
        state = copy_state(own, attached)
        aucs = measure(state)
        record = EpochRecord(phase.name, epoch, loss, mean_auc(aucs))
        session.log.tell(record, len(shots.clicked))
        run.add(Candidate(f"{phase.name}, epoch {epoch}", state, aucs))
        if run.over:
            break
    # A learned prompt changes the network as soon as it is there, so `before` is measured without.
    from_begun = Candidate(before.words, begun, before.aucs)
    kept = keep(from_begun, run.most_trained(), measure)
    load_state(own, attached, kept.state)
    return before if kept is from_begun else kept


def _require_sense(start: TextRanker, recipe: Recipe) -> None:
    if recipe.ranker != start.task.settings:
        raise ModelError(
            f"The recipe's ranker is {recipe.ranker}, and the start is {start.task.settings}. "
            "Begin with `zero_shot_ranker` of the recipe."
        )
    require_sense(recipe)
    if start.weights is not None and trains_network(recipe):
        require_same(start.weights.tuning, recipe.tuning)


def _trainable_readout(start: TextRanker, recipe: Recipe) -> Readout:
    """The start's readout; an untrained head gets its dense layer by the recipe's seed."""
    readout, dropout = start.readout, recipe.optimization.dropout
    if isinstance(readout, Classifier) and readout.untrained:
        return start.task.new_readout(seed=recipe.seed, dropout=dropout)
    own = deepcopy(readout)
    if isinstance(own, Classifier):
        own.dropout.p = dropout
    return own


def _copy(own: TextRanker, weights: Weights | None) -> TextRanker:
    return TextRanker(own.task, deepcopy(own.readout), weights)


def _calibrated(ranker: TextRanker, held: Reading) -> TextRanker:
    """The same ranking, with probabilities that fit the validation."""
    found = _copy(ranker, ranker.weights)
    device = found.readout.slope.device
    calibrate_scores(
        found.readout,
        torch.from_numpy(ranker.rank(held)).to(device),
        torch.from_numpy(held.log_size).to(device),
        torch.from_numpy(held.slates.label),
    )
    return found
