"""One trial of a sweep on a two-layer network: the same as a training alone, for less."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.metrics import impression_auc
from tasks.recommender.context import Context
from tasks.recommender.finetune import finetune
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.recipe import Lora, Optimization, Recipe
from tasks.recommender.statistics import count_item_hours
from tasks.recommender.sweep_trial import FIRST_STEP, Bench, PreparesOnce
from tests.unit.recommender.conftest import make_catalogue, make_rows

HEAD = Recipe(head_epochs=3, adapter_epochs=0)
NETWORK = Recipe(
    head_epochs=8,
    adapter_epochs=3,
    tuning=Lora(layers=2),
    optimization=Optimization(encoder_learning_rate=0.01),
)


@pytest.fixture
def halves(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Earlier impressions to learn from, later ones to rank."""
    earlier = np.array([int(name[1:]) < 80 for name in rows["impression_id"].to_pylist()])
    return rows.filter(pa.array(earlier)), rows.filter(pa.array(~earlier))


@pytest.fixture
def bench(ranker: HybridRanker, halves, context: Context) -> Bench:
    return Bench(PreparesOnce(ranker), *halves, context)


def ignore(step: int, auc: float) -> None:
    """What an unpruned trial is told."""


def test_a_trial_ranks_as_a_training_of_its_own_does(bench, ranker, halves, context):
    tuned = finetune(ranker, *halves, context, HEAD)
    aucs = bench.run(HEAD, seeds=1, report=ignore)
    validation = halves[1]
    expected = impression_auc(
        tuned.ranker.probabilities(validation, context),
        validation["label"].to_numpy(),
        validation["impression_id"].to_numpy(zero_copy_only=False),
    )
    assert aucs.mean() == pytest.approx(expected, abs=1e-6)
    assert len(aucs) == 40


def test_seeds_are_averaged_impression_by_impression(bench, monkeypatch):
    seeds: list[int] = []

    def tune(start, shots, validation, context, recipe, **_):
        seeds.append(recipe.seed)
        return SimpleNamespace(ranker=recipe.seed)

    monkeypatch.setattr("tasks.recommender.sweep_trial.finetune_ranker", tune)
    monkeypatch.setattr(Bench, "aucs", lambda self, seed: np.array([seed, 2.0 * seed]))
    assert bench.run(HEAD, seeds=3, report=ignore).tolist() == [18.0, 36.0]
    assert seeds == [17, 18, 19]


def test_trials_of_a_head_share_the_features_of_shots_and_validation(
    ranker, halves, context, monkeypatch
):
    computed: list[int] = []
    plain = HybridRanker.prepare

    def counted(self, rows, context):
        computed.append(len(rows))
        return plain(self, rows, context)

    monkeypatch.setattr(HybridRanker, "prepare", counted)
    bench = Bench(PreparesOnce(ranker), *halves, context)
    for precision in (1.0, 10.0):
        bench.run(replace(HEAD, wave_precisions=(precision,)), seeds=2, report=ignore)
    shots, validation = halves
    assert computed == [len(shots) + len(validation), len(validation)]


def test_trials_of_unrolled_histories_share_features_as_well(ranker, halves, context, monkeypatch):
    computed: list[int] = []
    plain = HybridRanker.prepare

    def counted(self, rows, context):
        computed.append(len(rows))
        return plain(self, rows, context)

    monkeypatch.setattr(HybridRanker, "prepare", counted)
    shots, validation = (answers(rows) for rows in halves)
    bench = Bench(PreparesOnce(ranker), shots, validation, context)
    for precision in (1.0, 10.0):
        bench.run(replace(HEAD, wave_precisions=(precision,)), seeds=2, report=ignore)
    held, learned = computed
    assert held == len(validation)
    assert learned > len(shots)


def answers(rows: pa.Table) -> pa.Table:
    """Every row as an impression of its own, after a history in which every second was disliked."""
    ids = pa.array([f"{slate}-{row}" for row, slate in enumerate(rows["impression_id"])])
    mixed = [
        [{**entry, "label": place % 2} for place, entry in enumerate(history)]
        for history in rows["history"].to_pylist()
    ]
    histories = pa.array(mixed, rows["history"].type)
    names = rows.column_names
    rows = rows.set_column(names.index("impression_id"), "impression_id", ids)
    return rows.set_column(names.index("history"), "history", histories)


def test_features_of_rows_not_seen_before_are_computed_and_the_oldest_forgotten(ranker, tmp_path):
    rows = make_rows(12)
    context = Context(make_catalogue(), count_item_hours(rows), None, tmp_path)
    start = PreparesOnce(ranker)
    first = start.prepare(rows, context)
    assert start.prepare(rows, context) is first
    assert start.prepare(rows, replace(context)) is not first, "another context may know more"
    for other in range(PreparesOnce.KEPT):
        start.prepare(make_rows(12, seed=2 + other), context)
    assert start.prepare(rows, context) is not first


def test_what_a_trial_makes_of_the_network_leaves_start_and_cache_as_they_were(bench, context):
    before = bench.start.digest
    bench.aucs(bench.start)
    cached = {path.name for path in Path(context.embeddings_folder).iterdir()}
    plain = bench.aucs(bench.start)
    tuned = bench.run(NETWORK, seeds=1, report=ignore)
    assert not np.array_equal(plain, tuned)
    assert bench.start.digest == before
    assert {path.name for path in Path(context.embeddings_folder).iterdir()} == cached


@pytest.mark.parametrize("way", ["map", "steps"])
def test_epochs_are_told_of_the_first_seed_alone_and_network_epochs_apart(bench, way):
    told: list[int] = []
    recipe = replace(NETWORK, head_fit=way)
    bench.run(recipe, seeds=2, report=lambda step, auc: told.append(step))
    heads = [step for step in told if step < FIRST_STEP["adapter"]]
    assert heads == list(range(1, len(heads) + 1))
    assert len(heads) == (1 if way == "map" else 8)
    assert told[len(heads) :] == [FIRST_STEP["adapter"] + epoch for epoch in (1, 2, 3)]


def test_what_a_report_raises_ends_the_trial(bench):
    class Pruned(Exception):
        pass

    def prune(step: int, auc: float) -> None:
        if step == 1:
            raise Pruned

    with pytest.raises(Pruned):
        bench.run(HEAD, seeds=3, report=prune)
