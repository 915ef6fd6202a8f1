"""Few-shot fine-tuning of the hybrid ranker: first the head, then adapter and head together."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import numpy as np
import pyarrow as pa
import torch

from tasks.recommender.adapter_candidates import HEAD, AdapterCandidates
from tasks.recommender.calibration import calibrate, calibrate_scores
from tasks.recommender.context import Context
from tasks.recommender.encoder import Encoder
from tasks.recommender.head import HybridHead
from tasks.recommender.head_fit import FOLDS, cross_fitted, fit_head, priors, set_up
from tasks.recommender.head_phase import (
    copy_state,
    measure_head,
    one_thread,
    train_head,
)
from tasks.recommender.hybrid import HybridRanker, new_head
from tasks.recommender.labelled import Labels, label_rows, trainable
from tasks.recommender.labels.pseudo import WEIGHT
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.propensity import judged_aucs, row_relevance
from tasks.recommender.protocol import Ranker
from tasks.recommender.recipe import Recipe
from tasks.recommender.recipe_check import require_sense, trains_network
from tasks.recommender.selection import (
    SHARES,
    Candidate,
    EpochRecord,
    Run,
    State,
    between,
    clearly_below,
    keep,
    mean_auc,
)
from tasks.recommender.statistics import Ints
from tasks.recommender.unroll import unroll

FEWEST_JUDGES = 25
"""Impressions below which a validation would mostly judge by luck: the error of their AUC is 0.06."""
SINGLES_A_SLATE = 4
"""Impressions of one candidate that judge as well as one of several, which brings its own comparison."""
Progress = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class Finetuned:
    """A challenger, and how it came about."""

    ranker: Ranker
    epochs: list[EpochRecord]
    kept: str
    """Whose state it is: `start`, `head, epoch 12` or `adapter, epoch 2`."""
    validation_auc: float | None
    """Of the state kept; None if no validation impression ranks anything."""
    rows: int
    """Candidate rows trained on, counted once an epoch."""
    seconds: float
    """Wall clock of all of it: features, embeddings not yet cached, both phases, calibration."""
    notes: tuple[str, ...] = ()
    """What was asked for and could not be done, or was done before training: a line each."""

    @property
    def rows_per_second(self) -> float:
        """Candidate rows trained on a second."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass
class Log:
    """The epochs so far, told as they come, and the rows they trained on."""

    progress: Progress | None
    epochs: list[EpochRecord] = field(default_factory=list)
    rows: int = 0

    def tell(self, record: EpochRecord, num_rows: int) -> None:
        """Take note of an epoch over so many candidate rows."""
        self.epochs.append(record)
        self.rows += num_rows
        if self.progress is not None:
            self.progress(record)


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

    Args:
        start: the zero-shot ranker, or an earlier champion. It is not changed.
        shots: labelled rows of whole impressions. A column `weight`, where there is one, says how
            much each counts in the loss, such as an inverse propensity; null counts 1.
        validation: the same, later in time than every shot. With a column `relevance` it is what
            has to be ranked first, instead of clicks (`judged_aucs`). Without any impression that holds a
            click and a skip, or impressions of one candidate of both kinds, nothing can show that
            training helped, and the start is kept. Fewer than FEWEST_JUDGES impressions judge
            nothing: they are shots then, which judge by cross-fitting, and the head alone is
            trained.
        context: catalogue, hourly counts, past clicks.
        recipe: the knobs.
        progress: called after every epoch.

    Returns:
        A ranker whose mean AUC on `validation` is not below the start's.

    Raises:
        ModelError: the recipe contradicts itself, training diverged, or rows lack columns.
    """
    began = perf_counter()
    require_sense(recipe)
    log = Log(progress)
    head = _trainable_copy(start, recipe)
    judged = can_judge(validation, recipe)
    if not judged:
        shots = pa.concat_tables([shots, validation], promote_options="permissive")
    if not len(shots) or not (len(validation) or recipe.head_fit == "map"):
        return _finish(start, log, "start", None, began)
    if len(answered := unroll(shots)):
        shots = pa.concat_tables([shots, answered])
    learned = start.prepare(shots, context)
    if start.head.untrained:
        set_up(head, learned, recipe)
    # Dropout draws from the process's generator.
    labels = label_rows(head, learned, recipe, row_weights(shots))
    relevant = None if judged else row_relevance(shots, learned.slates.order)
    threads = one_thread() if recipe.head_fit == "steps" else nullcontext()
    with torch.random.fork_rng(), threads:
        torch.manual_seed(recipe.seed)
        if not judged:
            return _cross_fit(
                start, head, learned, labels, relevant, _users(shots, learned), recipe, log, began
            )
        held = start.prepare(validation, context)
        relevant = row_relevance(validation, held.slates.order)
        kept = _run_head_phase(start.head, head, learned, labels, held, relevant, recipe, log)
    if kept.words == "start":
        return _finish(start, log, kept.words, kept.auc, began)
    head.load_state_dict(kept.state)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        joint = _run_adapter_phase(
            start.encoder, head, learned, labels, held, relevant, recipe, log
        )
    if joint is not None:
        return _finish(joint[0], log, joint[1].words, joint[1].auc, began)
    calibrate(head.eval(), held.features, torch.from_numpy(held.slates.label))
    return _finish(HybridRanker(start.encoder, head), log, kept.words, kept.auc, began)


def can_judge(validation: pa.Table, recipe: Recipe) -> bool:
    """Whether the validation tells states apart; else its impressions are shots."""
    if recipe.head_fit == "steps":
        return True
    rows = validation["impression_id"].combine_chunks().value_counts().field("counts").to_numpy()
    slates = int((rows > 1).sum())
    return slates + (len(rows) - slates) / SINGLES_A_SLATE >= FEWEST_JUDGES


def row_weights(shots: pa.Table) -> Floats:
    """(N,) what each row counts in the loss."""
    if WEIGHT not in shots.column_names:
        return np.ones(len(shots))
    return shots[WEIGHT].cast(pa.float64()).fill_null(1.0).to_numpy()


def _run_head_phase(
    begun: HybridHead,
    head: HybridHead,
    shots: Prepared,
    labels: Labels,
    validation: Prepared,
    relevant: Floats | None,
    recipe: Recipe,
    log: Log,
) -> Candidate:
    """Train `head`, and keep a state that ranks the validation no worse than `begun`."""
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
    if recipe.head_fit == "map":
        return keep(start, _fitted(head, shots, labels, recipe, measure, log), measure_state)
    run = Run(recipe.optimization.patience)
    for epoch, loss in enumerate(train_head(head, shots, labels, recipe), start=1):
        aucs = measure(head)
        log.tell(EpochRecord("head", epoch, loss, mean_auc(aucs)), len(shots.slates.slate))
        run.add(Candidate(f"head, epoch {epoch}", copy_state(head), aucs))
        if run.over:
            break

    return keep(start, run.most_trained(), measure_state)


def _fitted(
    head: HybridHead,
    shots: Prepared,
    labels: Labels,
    recipe: Recipe,
    measure: Callable[[HybridHead], Floats],
    log: Log,
) -> Candidate | None:
    """The fit, of those under each prior, that ranks best; None if no shot teaches anything."""
    begun, found = copy_state(head), []
    for number, precision in enumerate(priors(head, recipe), start=1):
        head.load_state_dict(begun)
        fit = fit_head(head, shots, labels, recipe, precision=precision)
        if fit is None:
            return None
        aucs, rows = measure(head), fit.passes * len(shots.slates.slate)
        log.tell(EpochRecord("head", number, fit.loss, mean_auc(aucs)), rows)
        found.append(Candidate(f"head, prior {precision:g}", copy_state(head), aucs))
    return max(found, key=lambda candidate: candidate.aucs.mean())


def _cross_fit(
    start: HybridRanker,
    head: HybridHead,
    shots: Prepared,
    labels: Labels,
    relevant: Floats | None,
    users: Ints,
    recipe: Recipe,
    log: Log,
    began: float,
) -> Finetuned:
    """Fit the head on all shots, as far from the start as fits on other users' shots allow."""
    slates = shots.slates
    clicked = torch.from_numpy(slates.label)

    def aucs(scores_N: torch.Tensor) -> Floats:
        scores = scores_N.double().cpu().numpy()
        return judged_aucs(scores, slates.label, slates.slate, relevant)

    tried = {
        precision: cross_fitted(head, shots, labels, users, recipe, precision=precision)
        for precision in priors(head, recipe)
    }
    at_start = aucs(_ranked(start.head, shots))
    log.tell(EpochRecord("start", 0, None, mean_auc(at_start)), 0)
    if not len(at_start):
        return _finish(start, log, "start", None, began)
    precision = max(tried, key=lambda precision: aucs(tried[precision](1.0)).mean())
    share = next((s for s in SHARES if aucs(tried[precision](s)).mean() >= at_start.mean()), 0.0)
    begun = copy_state(head)
    fit = fit_head(head, shots, labels, recipe, precision=precision)
    if fit is None or not share:
        return _finish(start, log, "start", mean_auc(at_start), began)
    scores = tried[precision](share)
    passes = fit.passes * (1 + FOLDS * len(tried))
    log.tell(EpochRecord("head", 1, fit.loss, mean_auc(aucs(scores))), passes * len(slates.slate))
    head.load_state_dict(between(begun, copy_state(head), share))
    # What was fitted on others knows the labels' level and no constant, and the head the reverse.
    alike = scores - scores.mean() + _ranked(head, shots).mean()
    calibrate_scores(head, alike, shots.features.log_size, clicked)
    words = f"head, prior {precision:g}" + ("" if share == 1 else f", {share:.0%} of the way")
    return _finish(HybridRanker(start.encoder, head), log, words, mean_auc(aucs(scores)), began)


@torch.no_grad()
def _ranked(head: HybridHead, rows: Prepared) -> torch.Tensor:
    """(N,) what the rows are ranked by."""
    return head.eval().rank(rows.features)


def _users(shots: pa.Table, prepared: Prepared) -> Ints:
    """(S,) number of each slate's user."""
    codes = shots["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    return codes[prepared.slates.order[prepared.slates.starts]].astype(np.int64)


def _run_adapter_phase(
    encoder: Encoder,
    head: HybridHead,
    shots: Prepared,
    labels: Labels,
    validation: Prepared,
    relevant: Floats | None,
    recipe: Recipe,
    log: Log,
) -> tuple[HybridRanker, Candidate] | None:
    """Train adapter and head together; None unless that is clearly better than the head alone.

    An adapter that is kept makes every cached embedding stale, so it has to earn that.
    """
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


def _trainable_copy(start: HybridRanker, recipe: Recipe) -> HybridHead:
    """The start's head; an untrained one gets waves by the recipe's seed."""
    if start.head.untrained:
        return new_head(seed=recipe.seed, dropout=recipe.optimization.dropout).to(start.device)
    head = deepcopy(start.head)
    head.dropout.p = recipe.optimization.dropout
    return head


def _finish(
    ranker: HybridRanker, log: Log, kept: str, auc: float | None, began: float
) -> Finetuned:
    return Finetuned(ranker, log.epochs, kept, auc, log.rows, perf_counter() - began)
