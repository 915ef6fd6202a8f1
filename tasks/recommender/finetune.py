"""Few-shot fine-tuning of the hybrid ranker: first the head, then adapter and head together."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import pyarrow as pa
import torch

from tasks.recommender.adapter_phase import prepare_run, train_adapter
from tasks.recommender.calibration import calibrate
from tasks.recommender.context import Context
from tasks.recommender.encoder import Encoder
from tasks.recommender.head import HybridHead
from tasks.recommender.head_phase import (
    copy_state,
    measure_head,
    num_trainable,
    one_thread,
    train_head,
)
from tasks.recommender.hybrid import HybridRanker, new_head
from tasks.recommender.losses import Floats
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe
from tasks.recommender.selection import (
    Candidate,
    EpochRecord,
    Run,
    State,
    clearly_below,
    keep,
    mean_auc,
)

_HEAD = "head."
Progress = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class Finetuned:
    """A challenger, and how it came about."""

    ranker: HybridRanker
    epochs: list[EpochRecord]
    kept: str
    """Whose state it is: `start`, `head, epoch 12` or `adapter, epoch 2`."""
    validation_auc: float | None
    """Of the state kept; None if no validation impression ranks anything."""
    rows: int
    """Candidate rows trained on, counted once an epoch."""
    seconds: float
    """Wall clock of all of it: features, embeddings not yet cached, both phases, calibration."""

    @property
    def rows_per_second(self) -> float:
        """Candidate rows trained on a second."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass
class _Log:
    """The epochs so far, told as they come, and the rows they trained on."""

    progress: Progress | None
    epochs: list[EpochRecord] = field(default_factory=list)
    rows: int = 0

    def tell(self, record: EpochRecord, num_rows: int) -> None:
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
        shots: labelled rows of whole impressions.
        validation: the same, later in time than every shot. Without any impression that holds a
            click and a skip, nothing can show that training helped, and the start is kept.
        context: catalogue, hourly counts, past clicks.
        recipe: the knobs.
        progress: called after every epoch.

    Returns:
        A ranker whose mean AUC on `validation` is not below the start's.

    Raises:
        ModelError: training diverged, or rows lack columns.
    """
    began = perf_counter()
    log = _Log(progress)
    head = _trainable_copy(start, recipe)
    if not len(shots) or not len(validation):
        return _finish(start, log, "start", None, began)
    learned, held = start.prepare(shots, context), start.prepare(validation, context)
    if start.head.untrained:
        head.standardise_on(learned.features)
    # Dropout draws from the process's generator.
    with torch.random.fork_rng(), one_thread():
        torch.manual_seed(recipe.seed)
        kept = _run_head_phase(head, learned, held, recipe, log)
    if kept.words == "start":
        return _finish(start, log, kept.words, kept.auc, began)
    head.load_state_dict(kept.state)
    joint = _run_adapter_phase(start.encoder, head, learned, held, recipe, log)
    if joint is not None:
        return _finish(joint[0], log, joint[1].words, joint[1].auc, began)
    calibrate(head.eval(), held.features, torch.from_numpy(held.slates.label))
    return _finish(HybridRanker(start.encoder, head), log, kept.words, kept.auc, began)


def _run_head_phase(
    head: HybridHead, shots: Prepared, validation: Prepared, recipe: Recipe, log: _Log
) -> Candidate:
    """Train the head, and keep a state that ranks the validation no worse than its start."""
    measure = partial(measure_head, features=validation.features, slates=validation.slates)
    start = Candidate("start", copy_state(head), measure(head))
    log.tell(EpochRecord("start", 0, None, start.auc), 0)
    if not len(start.aucs):
        return start
    run = Run(recipe.patience)
    for epoch, loss in enumerate(train_head(head, shots, recipe), start=1):
        aucs = measure(head)
        log.tell(EpochRecord("head", epoch, loss, mean_auc(aucs)), len(shots.slates.slate))
        run.add(Candidate(f"head, epoch {epoch}", copy_state(head), aucs))
        if run.over:
            break

    def measure_state(state: State) -> Floats:
        head.load_state_dict(state)
        return measure(head)

    return keep(start, run.most_trained(), measure_state)


def _run_adapter_phase(
    encoder: Encoder,
    head: HybridHead,
    shots: Prepared,
    validation: Prepared,
    recipe: Recipe,
    log: _Log,
) -> tuple[HybridRanker, Candidate] | None:
    """Train adapter and head together; None unless that is clearly better than the head alone.

    An adapter that is kept makes every cached embedding stale, so it has to earn that.
    """
    if not recipe.adapter_epochs or not num_trainable(shots.slates):
        return None
    run = prepare_run(encoder, head, shots, validation, recipe)
    held = run.validation.slates
    alone = measure_head(head, run.validation_features(), held)
    best: Candidate | None = None
    for epoch, loss in enumerate(train_adapter(run, recipe), start=1):
        aucs = measure_head(run.head, run.validation_features(), held)
        log.tell(EpochRecord("adapter", epoch, loss, mean_auc(aucs)), len(run.shots.rows))
        if clearly_below(alone, aucs) and (best is None or aucs.mean() > best.aucs.mean()):
            state = {**run.encoder.trained_state(), **_prefixed(copy_state(run.head))}
            best = Candidate(f"adapter, epoch {epoch}", state, aucs)
    if best is None:
        return None
    run.head.load_state_dict({name: best.state[_HEAD + name] for name in run.head.state_dict()})
    adapter = {name: value for name, value in best.state.items() if not name.startswith(_HEAD)}
    run.encoder.set_adapter(adapter, run.encoder.shape)
    calibrate(run.head.eval(), run.validation_features(), torch.from_numpy(held.label))
    return HybridRanker(run.encoder, run.head), best


def _prefixed(state: State) -> State:
    return {_HEAD + name: value for name, value in state.items()}


def _trainable_copy(start: HybridRanker, recipe: Recipe) -> HybridHead:
    """The start's head; an untrained one gets hidden weights by the recipe's seed."""
    if start.head.untrained:
        return new_head(seed=recipe.seed, dropout=recipe.dropout).to(start.device)
    head = deepcopy(start.head)
    head.dropout.p = recipe.dropout
    return head


def _finish(
    ranker: HybridRanker, log: _Log, kept: str, auc: float | None, began: float
) -> Finetuned:
    return Finetuned(ranker, log.epochs, kept, auc, log.rows, perf_counter() - began)
