"""Which state of a training run is kept: never one that ranks the validation worse than the start.

A validation of a hundred impressions tells two states apart only when they are far apart: the paired
standard error of their AUCs is 0.03 there, and most epochs differ by less. So the best epoch is mostly
a lucky one, and the first is often luckier than the last. Hence the standard-error rule, turned
towards what has learned most: of the epochs that are not worse than the best by more than two
paired standard errors, the last; of it, the largest share of the way from the start that ranks the
validation no worse than the start.

Source: Breiman et al. (1984) for the rule; Wortsman et al. (2022), WiSE-FT, for the way between.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from tasks.recommender.losses import Floats

State = dict[str, torch.Tensor]
ERRORS = 2.0
"""Paired standard errors by which a mean is clearly below another."""
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Shares of the way from the start that are tried."""


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the shots, for the record and for progress."""

    phase: str
    """start, head, adapter or merge."""
    epoch: int
    """From 1 in each phase; where the head is fitted at once, 1, then 2 with the
    validation among its shots."""
    train_loss: float | None
    """Mean loss over the epoch's steps; None before any training."""
    validation_auc: float | None
    """Mean AUC within validation impressions; None if none of them ranks anything."""


@dataclass(frozen=True)
class Candidate:
    """A state that could be kept."""

    words: str
    """`start`, `head, epoch 12` or the like."""
    state: State
    aucs: Floats
    """(V,) AUC of each validation impression that ranks anything."""
    share: float = 1.0
    """Of the way from the start."""

    @property
    def auc(self) -> float | None:
        """Mean over the impressions; None without any."""
        return mean_auc(self.aucs)


def mean_auc(aucs: Floats) -> float | None:
    """The mean, or None of nothing."""
    return float(aucs.mean()) if len(aucs) else None


def clearly_below(aucs: Floats, best: Floats) -> bool:
    """Whether the mean is below that of `best` by more than ERRORS paired standard errors."""
    difference = best - aucs
    if len(difference) < 2:
        return bool(difference.sum() > 0)
    return bool(difference.mean() > ERRORS * difference.std(ddof=1) / np.sqrt(len(difference)))


@dataclass
class Run:
    """The epochs of one phase so far."""

    patience: int
    candidates: list[Candidate] = field(default_factory=list)
    best: Candidate | None = None
    stale: int = 0

    def add(self, candidate: Candidate) -> None:
        """Take note of an epoch."""
        self.candidates.append(candidate)
        if self.best is None or candidate.aucs.mean() > self.best.aucs.mean():
            self.best, self.stale = candidate, 0
        elif clearly_below(candidate.aucs, self.best.aucs):
            self.stale += 1
        else:
            self.stale = 0

    @property
    def over(self) -> bool:
        """Whether `patience` epochs in a row were clearly worse than the best."""
        return self.stale >= self.patience

    def most_trained(self) -> Candidate | None:
        """The last epoch that is not clearly worse than the best; None before any."""
        if self.best is None:
            return None
        best = self.best.aucs
        return next(c for c in reversed(self.candidates) if not clearly_below(c.aucs, best))


def between(start: State, end: State, share: float) -> State:
    """Every number `share` of the way from `start` to `end`."""
    return {name: torch.lerp(start[name], end[name], share) for name in start}


def keep(
    start: Candidate, trained: Candidate | None, measure: Callable[[State], Floats]
) -> Candidate:
    """The largest share of the way to `trained` that ranks the validation no worse than `start`.

    Args:
        start: what training began from.
        trained: the state to go towards; None keeps the start.
        measure: the validation's AUCs under a state.
    """
    if trained is None or not len(start.aucs):
        return start
    for share in SHARES:
        state = between(start.state, trained.state, share)
        aucs = trained.aucs if share == 1 else measure(state)
        if aucs.mean() >= start.aucs.mean():
            return Candidate(on_the_way(trained.words, share), state, aucs, share)
    return start


def on_the_way(words: str, share: float) -> str:
    """What a state is called that is `share` of the way to `words`."""
    return words if share == 1 else f"{words}, {share:.0%} of the way"
