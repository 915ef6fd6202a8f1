from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.recommender import finetune as finetune_module
from tasks.recommender import long_short as long_short_module
from tasks.recommender.adapter_phase import prepare_run
from tasks.recommender.encoder import Encoder
from tasks.recommender.finetune import finetune
from tasks.recommender.head_phase import measure_head
from tasks.recommender.hybrid import HybridRanker
from tasks.recommender.labelled import label_rows
from tasks.recommender.long_short import LONG_SHARES, long_and_short, mixtures
from tasks.recommender.recipe import Lora, Optimization, Recipe
from tasks.recommender.score import score
from tasks.recommender.shots import split_by_time

BOTH = Recipe(
    head_epochs=5,
    adapter_epochs=1,
    tuning=Lora(rank=4, alpha=8),
    optimization=Optimization(encoder_learning_rate=5e-3),
    long_short=True,
)


@pytest.fixture
def split(rows):
    return split_by_time(rows, validation_share=0.25, holdout_share=0.25)


@pytest.fixture
def champion(ranker, split, context):
    """A ranker with an adapter."""
    encoder = Encoder(ranker.base)
    encoder.start_training(BOTH.tuning, None, seed=5)
    state = {name: value + 0.02 for name, value in encoder.trained_state().items()}
    adapted = Encoder(ranker.base)
    adapted.set_adapter(state, BOTH.tuning)
    return HybridRanker(adapted, ranker.head)


def both_of(start, split, context, monkeypatch):
    shots, held = (start.prepare(part, context) for part in (split.shots, split.validation))
    labels = label_rows(start.head, shots, BOTH, np.ones(len(shots.slates.label)))
    run = prepare_run(start.encoder, start.head, shots, labels, held, BOTH)
    trained = []
    plain = long_short_module.train_adapter

    def spy(which, recipe):
        begun = which.encoder.trained_state()
        trained.append((which, begun))
        return plain(which, recipe)

    monkeypatch.setattr(long_short_module, "train_adapter", spy)
    told = []
    long, short = long_and_short(
        run, start.encoder, start.head, shots, labels, held, BOTH, lambda r, _: told.append(r)
    )
    return run, long, short, trained, told


def same(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_champions_adapter_is_the_long_term_one_and_stays_as_it_is(
    champion, split, context, monkeypatch
):
    run, long, short, trained, told = both_of(champion, split, context, monkeypatch)
    assert same(long.adapter, champion.encoder.adapter)
    ((only, begun),) = trained
    assert told == [only]
    assert only is not run
    # The short-term one begins afresh: B is 0.
    assert all(not value.any() for name, value in begun.items() if "lora_B" in name)
    assert not same(short.adapter, begun)


def test_the_short_term_adapter_sees_the_newest_quarter_alone(
    champion, split, context, monkeypatch
):
    run, _, _, ((short, _),), _ = both_of(champion, split, context, monkeypatch)
    everything, few = run.shots.slates, short.shots.slates
    assert len(few.history) == -(-len(everything.history) // 4)
    assert few.hour.min() >= np.sort(everything.hour[everything.starts])[-len(few.history)]


def test_from_a_start_without_an_adapter_the_long_term_one_learns_from_all_shots(
    ranker, split, context, monkeypatch
):
    run, long, short, trained, _ = both_of(ranker, split, context, monkeypatch)
    assert [which is run for which, _ in trained] == [True, False]
    assert not same(long.adapter, trained[0][1])
    assert not same(long.adapter, short.adapter)


def test_both_ends_of_the_way_are_tried_and_are_the_two(ranker, split, context, monkeypatch):
    run, long, short, _, _ = both_of(ranker, split, context, monkeypatch)
    texts = ["goal match team", "bank market stock", "soup bread"]
    vectors = {}
    for share, made in mixtures(run, long, short, BOTH):
        vectors[share] = run.encoder.encode(texts)
        if share in (0, 1):
            assert same(made.head, long.head if share else short.head)
    assert tuple(vectors) == LONG_SHARES
    for share, end in ((1.0, long), (0.0, short)):
        run.encoder.set_adapter(end.adapter, BOTH.tuning)
        np.testing.assert_allclose(vectors[share], run.encoder.encode(texts), atol=1e-4)
    assert not np.allclose(vectors[1.0], vectors[0.0], atol=1e-3)


@pytest.mark.parametrize("clearly", [True, False])
def test_a_mixture_is_kept_only_if_clearly_better(ranker, split, context, monkeypatch, clearly):
    monkeypatch.setattr(finetune_module, "clearly_below", lambda *_: clearly)
    tuned = finetune(ranker, split.shots, split.validation, context, BOTH)
    phases = [record.phase for record in tuned.epochs]
    assert phases.count("merge") == len(LONG_SHARES)
    assert [r.epoch for r in tuned.epochs if r.phase == "adapter"] == [1, 2]
    if not clearly:
        assert tuned.ranker.encoder.adapter is None
        return
    assert tuned.kept.endswith("% long-term")
    best = max(r.validation_auc for r in tuned.epochs if r.phase == "merge")
    assert tuned.validation_auc == best
    measured = measure_head(tuned.ranker.head, *_measured(tuned.ranker, split.validation, context))
    assert measured.mean() == pytest.approx(best, abs=0.02)
    assert np.isfinite(score(tuned.ranker, split.holdout, context)).all()


def _measured(ranker, rows, context):
    prepared = ranker.prepare(rows, context)
    return prepared.features, prepared.slates


def test_without_long_short_nothing_is_merged(ranker, split, context):
    plain = replace(BOTH, long_short=False)
    tuned = finetune(ranker, split.shots, split.validation, context, plain)
    assert not any(record.phase == "merge" for record in tuned.epochs)
