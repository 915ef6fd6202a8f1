"""A study of recipes, with a function in place of fine-tuning: what is tried, kept and repeated."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from optuna.storages import InMemoryStorage

from tasks.errors import ModelError
from tasks.recommender.recipe import Optimization, Recipe
from tasks.recommender.sweep import UNPRUNED_STEPS, UNPRUNED_TRIALS, Sweep, Tried, _storage
from tasks.recommender.sweep_space import Space

STORAGE = _storage
# More digits than a drawn rate has: no drawn recipe equals it.
CONFIGURED = Recipe(head_fit="steps", optimization=Optimization(learning_rate=0.00314159))
Report = Callable[[int, float], None]


class Bench:
    """Ranks a validation of three impressions better the nearer the learning rate is to 0.01."""

    def __init__(self) -> None:
        self.tried: list[Recipe] = []

    def __call__(self, recipe: Recipe, report: Report) -> np.ndarray:
        self.tried.append(recipe)
        auc = 0.7 - abs(np.log10(recipe.optimization.learning_rate) + 2) / 10
        for epoch in range(1, 6):
            report(epoch, auc)
        return np.array([auc - 0.01, auc, auc + 0.01])


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """One storage in memory for all files of a test: SQLite waits for the disk at every step."""
    shared = InMemoryStorage()
    monkeypatch.setattr("tasks.recommender.sweep._storage", lambda file: shared)


@pytest.fixture
def on_disk(storage: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real storage."""
    monkeypatch.setattr("tasks.recommender.sweep._storage", STORAGE)


def open_sweep(folder: Path) -> Sweep:
    return Sweep(folder / "sweeps" / "news.db", "2026-03-02 abc", Space(CONFIGURED))


def run(sweep: Sweep, bench: Callable, trials: int, seconds: float | None = None) -> list[Tried]:
    told: list[Tried] = []
    sweep.run(bench, trials=trials, seconds=seconds, tell=told.append)
    return told


def test_the_configured_recipe_is_tried_first_and_the_winner_is_no_worse(tmp_path):
    sweep, bench = open_sweep(tmp_path), Bench()
    told = run(sweep, bench, 12)
    assert bench.tried[0] == CONFIGURED
    assert [each.number for each in told if each.configured] == [0]
    best, recipe = sweep.best()
    assert best.auc == max(each.auc for each in told if each.auc is not None)
    assert best.auc >= told[0].auc
    assert recipe == bench.tried[best.number]
    assert len({each.optimization.learning_rate for each in bench.tried}) > 8


def test_the_same_command_goes_on_with_the_trials_that_are_missing(tmp_path, on_disk):
    first, second = Bench(), Bench()
    run(open_sweep(tmp_path), first, 2)
    sweep = open_sweep(tmp_path)
    assert sweep.num_ended == 2
    run(sweep, second, 3)
    assert len(second.tried) == 1
    assert second.tried[0] not in first.tried
    run(sweep, second, 3)
    assert len(second.tried) == 1


def test_another_recipe_or_day_has_a_study_of_its_own_in_the_same_file(tmp_path, on_disk):
    run(open_sweep(tmp_path), Bench(), 1)
    other = Sweep(tmp_path / "sweeps" / "news.db", "2026-03-03 abc", Space(CONFIGURED))
    assert other.num_ended == 0


@pytest.mark.parametrize("killed_in", [0, 2])
def test_a_killed_trial_is_marked_and_its_values_are_tried_again(tmp_path, killed_in):
    bench = Bench()

    def killed(recipe: Recipe, report: Report) -> np.ndarray:
        aucs = bench(recipe, report)
        if len(bench.tried) == killed_in + 1:
            raise KeyboardInterrupt
        return aucs

    with pytest.raises(KeyboardInterrupt):
        run(open_sweep(tmp_path), killed, 4)
    sweep, again = open_sweep(tmp_path), Bench()
    told = run(sweep, again, 4)
    assert again.tried[0] == bench.tried[killed_in]
    assert len(told) == 4 - killed_in
    states = [each.state for each in sweep.tried()]
    assert states.count("killed") == 1 and states[killed_in] == "killed"
    assert sweep.num_ended == 4
    assert sweep.best()[0].auc is not None
    assert any(each.configured and each.state == "complete" for each in sweep.tried())


def test_a_trial_clearly_behind_the_others_is_ended_before_its_last_epoch(tmp_path):
    epochs: list[int] = []

    def run_of_ten(recipe: Recipe, report: Report) -> np.ndarray:
        # The configured recipe is the worst of the first, and is not pruned for it.
        auc = 0.5 if recipe == CONFIGURED or len(epochs) > UNPRUNED_TRIALS else 0.7
        epochs.append(0)
        for epoch in range(1, 11):
            epochs[-1] = epoch
            report(epoch, auc)
        return np.full(3, auc)

    sweep = open_sweep(tmp_path)
    run(sweep, run_of_ten, UNPRUNED_TRIALS + 3)
    states = [each.state for each in sweep.tried()]
    assert states[: UNPRUNED_TRIALS + 1] == ["complete"] * (UNPRUNED_TRIALS + 1)
    assert states[UNPRUNED_TRIALS + 1 :] == ["pruned", "pruned"]
    assert epochs[UNPRUNED_TRIALS + 1 :] == [UNPRUNED_STEPS + 1] * 2


def test_the_configured_recipe_is_never_pruned(tmp_path):
    sweep, bench = open_sweep(tmp_path), Bench()
    run(sweep, bench, UNPRUNED_TRIALS + 2)
    sweep.study.enqueue_trial({}, user_attrs={"configured": True})

    def poor(_: Recipe, report: Report) -> np.ndarray:
        for epoch in range(1, 11):
            report(epoch, 0.1)
        return np.full(3, 0.1)

    told = run(sweep, poor, UNPRUNED_TRIALS + 3)
    assert told[-1].configured and told[-1].state == "complete"


def test_a_recipe_that_cannot_be_trained_is_one_failed_trial(tmp_path):
    bench = Bench()

    def fragile(recipe: Recipe, report: Report) -> np.ndarray:
        if len(bench.tried) == 1:
            bench.tried.append(recipe)
            raise ModelError("training diverged")
        return bench(recipe, report)

    sweep = open_sweep(tmp_path)
    told = run(sweep, fragile, 3)
    assert [each.state for each in told] == ["complete", "failed", "complete"]
    assert told[1].why == "training diverged"


def test_a_configured_recipe_that_cannot_be_trained_ends_the_sweep_and_is_tried_again(tmp_path):
    def broken(recipe: Recipe, report: Report) -> np.ndarray:
        raise ModelError("training diverged")

    with pytest.raises(ModelError, match="diverged"):
        run(open_sweep(tmp_path), broken, 3)
    bench = Bench()
    run(open_sweep(tmp_path), bench, 3)
    assert bench.tried[0] == CONFIGURED


def test_no_trial_is_begun_after_the_time_given(tmp_path):
    bench = Bench()
    run(open_sweep(tmp_path), bench, 50, seconds=0)
    assert not bench.tried


def test_the_gain_is_paired_by_impression(tmp_path):
    aucs = iter([np.array([0.5, 0.6, 0.7]), np.array([0.6, 0.6, 0.9])])
    sweep = open_sweep(tmp_path)
    told = run(sweep, lambda recipe, report: next(aucs), 2)
    # Differences 0.1, 0 and 0.2: mean 0.1, standard deviation 0.1, over √3.
    gain, error = sweep.gain(told[1])
    assert gain == pytest.approx(0.1)
    assert error == pytest.approx(0.1 / np.sqrt(3))
    assert sweep.gain(told[0]) == (0.0, 0.0)


def test_the_knob_that_decides_is_found_to_matter_most(tmp_path):
    sweep = open_sweep(tmp_path)
    run(sweep, Bench(), 9)
    assert sweep.importance() == {}, "too few to tell"
    run(sweep, lambda recipe, _: Bench()(recipe, lambda *_: None), 24)
    importance = sweep.importance()
    assert max(importance, key=lambda knob: importance[knob]) == "optimization.learning_rate"
    assert sum(importance.values()) == pytest.approx(1)
