"""Few-shot fine-tuning of the hybrid ranker: first the head, then adapter and head together."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from time import perf_counter

import pyarrow as pa
import torch

from tasks.recommender.calibration import calibrate
from tasks.recommender.context import Context
from tasks.recommender.head import HybridHead
from tasks.recommender.head_phase import EpochRecord, State, copy_state, train_head, validation_auc
from tasks.recommender.hybrid import HybridRanker, new_head
from tasks.recommender.prepare import Prepared
from tasks.recommender.recipe import Recipe

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
class _Selection:
    """The epochs so far, and the best state among them."""

    progress: Progress | None
    state: State
    kept: str = "start"
    auc: float | None = None
    stale: int = 0
    epochs: list[EpochRecord] = field(default_factory=list)

    def consider(self, record: EpochRecord, state: State) -> None:
        """Record an epoch; its state is kept if it ranks the validation better than all before."""
        self.epochs.append(record)
        if self.progress is not None:
            self.progress(record)
        if record.validation_auc is not None and (
            self.auc is None or record.validation_auc > self.auc
        ):
            self.state, self.auc, self.stale = state, record.validation_auc, 0
            self.kept = f"{record.phase}, epoch {record.epoch}" if record.epoch else "start"
        else:
            self.stale += 1


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

    Raises:
        ModelError: training diverged, or rows lack columns.
    """
    began = perf_counter()
    head = _trainable_copy(start, recipe)
    learned = start.prepare(shots, context) if len(shots) else None
    held = start.prepare(validation, context) if len(validation) else None
    chosen = _Selection(progress, copy_state(head))
    if learned is not None and held is not None:
        if start.head.untrained:
            head.standardise_on(learned.features)
        chosen.state = copy_state(head)
        chosen.consider(EpochRecord("start", 0, None, validation_auc(head, held)), chosen.state)
        with torch.random.fork_rng():  # dropout draws from the process's generator
            torch.manual_seed(recipe.seed)
            _run_head_phase(head, learned, held, recipe, chosen)
        head.load_state_dict(chosen.state)
        if chosen.kept != "start":
            head.eval()
            labels = torch.from_numpy(held.slates.label)
            calibrate(head, held.features, labels)
    trained = sum(1 for record in chosen.epochs if record.epoch)
    return Finetuned(
        HybridRanker(start.encoder, head),
        chosen.epochs,
        chosen.kept,
        chosen.auc,
        rows=trained * len(shots),
        seconds=perf_counter() - began,
    )


def _trainable_copy(start: HybridRanker, recipe: Recipe) -> HybridHead:
    """The start's head; an untrained one gets hidden weights by the recipe's seed."""
    if start.head.untrained:
        return new_head(seed=recipe.seed, dropout=recipe.dropout).to(start.device)
    head = deepcopy(start.head)
    head.dropout.p = recipe.dropout
    return head


def _run_head_phase(
    head: HybridHead, shots: Prepared, validation: Prepared, recipe: Recipe, chosen: _Selection
) -> None:
    chosen.stale = 0
    for record, state in train_head(head, shots, validation, recipe):
        chosen.consider(record, state)
        if chosen.stale >= recipe.patience:
            break
