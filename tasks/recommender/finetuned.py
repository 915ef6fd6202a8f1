"""What fine-tuning gives back, and what it notes on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from tasks.recommender.protocol import Ranker
from tasks.recommender.selection import EpochRecord

Progress = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class Finetuned:
    """A challenger, and how it came about."""

    ranker: Ranker
    epochs: list[EpochRecord]
    kept: str
    """Whose state it is: `start`, `head`, `head, epoch 12` or `adapter, epoch 2`."""
    validation_auc: float | None
    """Of the state kept, before the validation was learned from; None if it ranks nothing."""
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
    began: float = field(default_factory=perf_counter)

    def tell(self, record: EpochRecord, num_rows: int) -> None:
        """Take note of an epoch over so many candidate rows."""
        self.epochs.append(record)
        self.rows += num_rows
        if self.progress is not None:
            self.progress(record)

    def finish(self, ranker: Ranker, kept: str, auc: float | None) -> Finetuned:
        """What came of it, by now."""
        seconds = perf_counter() - self.began
        return Finetuned(ranker, self.epochs, kept, auc, self.rows, seconds)
