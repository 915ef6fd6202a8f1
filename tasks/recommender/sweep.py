"""A hyper-parameter search over recipes, kept in SQLite so that it goes on where it stopped.

Trial 0 is the configured recipe itself, and is never pruned: what wins is no worse on the validation. A
trial that was running when its process died is marked as failed, and its values are tried again.

Source: Akiba et al. (2019), Optuna; TPE: Bergstra et al. (2011); median stopping: Golovin et al. (2017).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import ModelError
from tasks.recommender.losses import Floats
from tasks.recommender.recipe import Recipe
from tasks.recommender.sweep_space import Space

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

CONFIGURED, REPEATS, AUCS, SECONDS, WHY = "configured", "repeats", "aucs", "seconds", "why"
"""Attributes of a trial: whether it is the configured recipe, the killed trial that it repeats, the AUC of
each impression, what it took, and why it failed."""

UNPRUNED_TRIALS = 5
"""Trials before any is pruned: a median of fewer says little."""
UNPRUNED_STEPS = 3
"""Epochs of each trial before it may be."""

Run = Callable[[Recipe, Callable[[int, float], None]], Floats]
"""Tries a recipe, telling each epoch's validation AUC; gives the AUC of each impression."""


@dataclass(frozen=True)
class Tried:
    """A trial that has ended."""

    number: int
    state: str
    """complete, pruned, failed or killed."""
    configured: bool
    auc: float | None
    """Mean over the validation's impressions; None unless it is complete."""
    seconds: float | None
    values: dict[str, Any]
    """The knobs that were drawn, by Optuna's names."""
    why: str | None
    """What went wrong, where it failed."""


class Sweep:
    """One study: the trials around one configured recipe."""

    def __init__(self, file: Path, name: str, space: Space) -> None:
        """Open the study `name` in `file`, or begin it; trials of a dead process are set up again."""
        self.space, self.configured = space, space.configured
        self.study = _open(file, name, self.configured.seed)
        self._set_up()

    @property
    def num_ended(self) -> int:
        """Trials that say something: a killed one and its repetition are one."""
        return sum(trial.state.is_finished() for trial in self._trials()) - self._num_killed()

    def run(
        self, run: Run, *, trials: int, seconds: float | None, tell: Callable[[Tried], None]
    ) -> None:
        """Go on until `trials` have ended in all, or for `seconds`; the trial begun last is finished.

        Raises:
            ModelError: the configured recipe itself cannot be trained.
        """
        began = time.monotonic()
        while self.num_ended < trials:
            if seconds is not None and time.monotonic() - began >= seconds:
                return
            number = self._next(run)
            tell(next(each for each in self.tried() if each.number == number))

    def tried(self) -> list[Tried]:
        """All trials that have ended, oldest first."""
        killed = self._killed()
        return [_tried(each, killed) for each in self._trials() if each.state.is_finished()]

    def best(self) -> tuple[Tried, Recipe]:
        """The complete trial that ranks the validation best, the earlier of two, and its recipe."""
        complete = [each for each in self.tried() if each.auc is not None]
        best = max(complete, key=lambda each: (each.auc, -each.number))
        return best, self.recipe_of(best)

    def recipe_of(self, tried: Tried) -> Recipe:
        """The recipe that the trial was of."""
        from optuna.trial import FixedTrial

        if tried.configured:
            return self.configured
        return self.space.draw(FixedTrial(tried.values))

    def gain(self, tried: Tried) -> tuple[float, float]:
        """Mean AUC over the configured recipe's on the same impressions, and its standard error.

        The error is paired by impression, and knows nothing of `tried` having been chosen as the best.
        """
        first = next(each for each in self.tried() if each.configured and each.auc is not None)
        difference = self._aucs(tried.number) - self._aucs(first.number)
        spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
        return float(difference.mean()), float(spread / np.sqrt(len(difference)))

    def importance(self) -> dict[str, float]:
        """How much of what the good trials have in common each knob explains; sums to 1.

        Empty before there are enough trials to tell. Source: Watanabe et al. (2023), PED-ANOVA.
        """
        from optuna.importance import get_param_importances

        if sum(each.auc is not None for each in self.tried()) < 2 * UNPRUNED_TRIALS:
            return {}
        found: dict[str, float] = get_param_importances(self.study)
        return found

    def _set_up(self) -> None:
        from optuna.trial import TrialState

        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            # Its process is dead: whoever sweeps holds the pipeline's lease.
            again = {REPEATS: trial.number, CONFIGURED: bool(trial.user_attrs.get(CONFIGURED))}
            values = self.space.standing() if again[CONFIGURED] else trial.params
            self.study.enqueue_trial(values, user_attrs=again)
            self.study.tell(trial.number, state=TrialState.FAIL)
        alive = (TrialState.WAITING, TrialState.COMPLETE)
        if not any(t.user_attrs.get(CONFIGURED) for t in self.study.get_trials(states=alive)):
            self.study.enqueue_trial(self.space.standing(), user_attrs={CONFIGURED: True})

    def _next(self, run: Run) -> int:
        import optuna
        from optuna.trial import TrialState

        trial = self.study.ask()
        configured = bool(trial.user_attrs.get(CONFIGURED))
        drawn = self.space.draw(trial)
        began = time.monotonic()
        try:
            aucs = run(self.configured if configured else drawn, _reporter(trial, configured))
        except optuna.TrialPruned:
            trial.set_user_attr(SECONDS, round(time.monotonic() - began, 3))
            self.study.tell(trial, state=TrialState.PRUNED)
        except ModelError as error:
            trial.set_user_attr(WHY, str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            if configured:
                raise
        else:
            trial.set_user_attr(SECONDS, round(time.monotonic() - began, 3))
            trial.set_user_attr(AUCS, [round(float(auc), 5) for auc in aucs])
            self.study.tell(trial, float(np.mean(aucs)))
        return trial.number

    def _trials(self) -> "list[FrozenTrial]":
        found: list[FrozenTrial] = self.study.get_trials(deepcopy=False)
        return found

    def _killed(self) -> set[int]:
        return {t.user_attrs[REPEATS] for t in self._trials() if REPEATS in t.user_attrs}

    def _num_killed(self) -> int:
        return len(self._killed())

    def _aucs(self, number: int) -> Floats:
        return np.array(self._trials()[number].user_attrs[AUCS])


def _open(file: Path, name: str, seed: int) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name,
        storage=_storage(file),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(UNPRUNED_TRIALS, UNPRUNED_STEPS + 1),
    )
    # A continued study draws on: the same seed would draw what it has drawn.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials(deepcopy=False)))
    return study


def _storage(file: Path) -> Any:
    file.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{file}"


def _reporter(trial: "Trial", configured: bool) -> Callable[[int, float], None]:
    from optuna import TrialPruned

    def report(step: int, auc: float) -> None:
        trial.report(auc, step)
        if not configured and trial.should_prune():
            raise TrialPruned

    return report


def _tried(trial: "FrozenTrial", killed: set[int]) -> Tried:
    words = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return Tried(
        number=trial.number,
        state="killed" if trial.number in killed else words[trial.state.name],
        configured=bool(trial.user_attrs.get(CONFIGURED)),
        auc=trial.value if trial.state.name == "COMPLETE" else None,
        seconds=trial.user_attrs.get(SECONDS),
        values=dict(trial.params),
        why=trial.user_attrs.get(WHY),
    )
