from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender import adapter_phase
from tasks.recommender import finetune as finetune_module
from tasks.recommender.adapter_phase import backward_step, prepare_run
from tasks.recommender.adapter_step import AdapterStep
from tasks.recommender.finetune import (
    FEWEST_HEAD_JUDGES,
    FEWEST_JUDGES,
    count_judges,
    finetune,
)
from tasks.recommender.head_phase import measure_head
from tasks.recommender.labelled import label_rows
from tasks.recommender.labels.impressions import newest
from tasks.recommender.learning.objectives import listwise
from tasks.recommender.prepare import assemble
from tasks.recommender.recipe import Lora, Optimization, Recipe, Selection
from tasks.recommender.score import score
from tasks.recommender.selection import Candidate, Run, clearly_below, keep
from tasks.recommender.shots import split_by_time

HEAD_ONLY = Recipe(head_epochs=5, adapter_epochs=0)
JOINT = Recipe(
    head_epochs=2,
    adapter_epochs=2,
    tuning=Lora(rank=4, alpha=8),
    optimization=Optimization(encoder_learning_rate=5e-3),
)


@pytest.fixture
def split(rows):
    return split_by_time(rows, validation_share=0.25, holdout_share=0.25)


def test_shots_improve_the_ranking_of_later_impressions(ranker, split, context):
    tuned = finetune(ranker, split.shots, split.validation, context, HEAD_ONLY)
    before = measure_head(ranker.head, *_measured(ranker, split.holdout, context)).mean()
    after = measure_head(tuned.ranker.head, *_measured(tuned.ranker, split.holdout, context)).mean()
    assert tuned.kept.startswith("head")
    assert after > before


def _measured(ranker, rows, context):
    prepared = ranker.prepare(rows, context)
    return prepared.features, prepared.slates


def test_the_same_seed_gives_the_same_ranker_and_another_seed_another(ranker, split, context):
    def digest(seed: int) -> str:
        recipe = replace(JOINT, seed=seed)
        return finetune(ranker, split.shots, split.validation, context, recipe).ranker.digest

    torch.manual_seed(1)
    first = digest(3)
    torch.manual_seed(2)
    assert digest(3) == first
    assert digest(4) != first


def test_the_start_is_not_changed_by_training(ranker, split, context):
    digest, scores = ranker.digest, score(ranker, split.holdout, context)
    finetune(ranker, split.shots, split.validation, context, JOINT)
    assert ranker.digest == digest
    np.testing.assert_array_equal(score(ranker, split.holdout, context), scores)


def test_labels_that_mislead_leave_the_start_in_place(ranker, split, context):
    shots = split.shots
    # Clicks on what fits least: the validation, where people click what fits, gets worse.
    worst = shots.set_column(
        shots.column_names.index("label"),
        "label",
        pa.array((np.arange(len(shots)) % 6 == 5).astype(np.int8)),
    )
    tuned = finetune(ranker, worst, split.validation, context, replace(HEAD_ONLY, head_epochs=20))
    start = tuned.epochs[0]
    assert start.phase == "start"
    assert tuned.validation_auc >= start.validation_auc


@pytest.fixture
def misleading(split):
    """A validation that is too small for a head, where what would be clicked is skipped."""
    rows = split.validation
    labels = pa.array(1 - rows["label"].to_numpy())
    rows = rows.set_column(rows.column_names.index("label"), "label", labels)
    assert FEWEST_JUDGES <= count_judges(rows) < FEWEST_HEAD_JUDGES
    return rows


def test_a_small_validation_is_learned_from_and_the_shots_judge_the_head(ranker, split, context):
    tuned = finetune(ranker, split.shots, split.validation, context, HEAD_ONLY)
    start, head = tuned.epochs
    assert (start.phase, head.phase, tuned.kept) == ("start", "head", "head")
    everything = pa.concat_tables([split.shots, split.validation])
    assert tuned.ranker.digest == (
        finetune(ranker, everything, everything.slice(0, 0), context, HEAD_ONLY).ranker.digest
    )
    assert start.validation_auc == pytest.approx(
        measure_head(ranker.head, *_measured(ranker, everything, context)).mean()
    )


def test_a_small_validation_cannot_veto_a_head_that_other_users_shots_approve_of(
    ranker, split, context, misleading, monkeypatch
):
    recipe = replace(HEAD_ONLY, learn_validation=False)
    tuned = finetune(ranker, split.shots, misleading, context, recipe)
    assert tuned.kept.startswith("head")
    start, head = tuned.epochs
    assert head.validation_auc == tuned.validation_auc < start.validation_auc
    monkeypatch.setattr(finetune_module, "FEWEST_HEAD_JUDGES", 0)
    assert finetune(ranker, split.shots, misleading, context, recipe).kept == "start"


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Selection(policy="random", negatives=4), "head"),
        (Selection(policy="random", negatives=4, hardness=0.5), "start"),
        (Selection(policy="uncertain"), "start"),
        (Selection(policy="k_center"), "start"),
    ],
)
def test_shots_that_were_not_drawn_evenly_do_not_outvote_a_validation(
    ranker, split, context, misleading, selection, kept
):
    recipe = replace(HEAD_ONLY, selection=selection, learn_validation=False)
    assert finetune(ranker, split.shots, misleading, context, recipe).kept == kept


def test_shots_that_were_chosen_judge_where_a_validation_hardly_exists(ranker, split, context):
    few = newest(split.validation, FEWEST_JUDGES - 1)
    for validation in (few, few.slice(0, 0)):
        recipe = replace(HEAD_ONLY, selection=Selection(policy="balanced"))
        tuned = finetune(ranker, split.shots, validation, context, recipe)
        assert tuned.kept.startswith("head")
        assert [e.phase for e in tuned.epochs] == ["start", "head"]


def test_a_small_validation_still_judges_a_network_against_the_head(
    ranker, split, context, monkeypatch
):
    monkeypatch.setattr(finetune_module, "clearly_below", lambda *_: False)
    tuned = finetune(ranker, split.shots, split.validation, context, JOINT)
    assert [e.phase for e in tuned.epochs[:2]] == ["start", "head"]
    assert [e.phase for e in tuned.epochs[2:]] == ["adapter"] * 2 + ["head"], "and learned from"
    held = _measured(ranker, split.validation, context)
    assert tuned.epochs[0].validation_auc == pytest.approx(measure_head(ranker.head, *held).mean())


@pytest.mark.parametrize(
    ("missing", "recipe"),
    [
        ("shots", replace(HEAD_ONLY, learn_validation=False)),
        ("validation", replace(HEAD_ONLY, head_fit="steps")),
        ("passes", replace(HEAD_ONLY, head_epochs=0)),
        ("both", HEAD_ONLY),
    ],
)
def test_without_shots_judges_or_passes_the_start_is_kept_exactly(
    ranker, split, context, missing, recipe
):
    shots, validation = split.shots, split.validation
    shots = shots.slice(0, 0) if missing in ("shots", "both") else shots
    validation = validation.slice(0, 0) if missing in ("validation", "both") else validation
    tuned = finetune(ranker, shots, validation, context, recipe)
    assert tuned.kept == "start"
    assert tuned.ranker.digest == ranker.digest


@pytest.mark.parametrize(("way", "module"), [("map", "head_fit"), ("steps", "head_phase")])
def test_a_diverged_training_says_so(ranker, split, context, monkeypatch, way, module):
    monkeypatch.setattr(
        f"tasks.recommender.{module}.step_loss",
        lambda step, *_: (step.score(step.inputs()) * float("nan")).sum(),
    )
    with pytest.raises(ModelError, match="diverged"):
        finetune(ranker, split.shots, split.validation, context, replace(HEAD_ONLY, head_fit=way))


def test_training_can_go_on_from_a_trained_ranker(ranker, split, context):
    first = finetune(ranker, split.shots, split.validation, context, HEAD_ONLY)
    second = finetune(first.ranker, split.shots, split.validation, context, HEAD_ONLY)
    measured = measure_head(first.ranker.head, *_measured(first.ranker, split.validation, context))
    assert second.epochs[0].validation_auc == pytest.approx(measured.mean())


def test_probabilities_are_calibrated_on_the_validation(ranker, split, context):
    tuned = finetune(ranker, split.shots, split.validation, context, HEAD_ONLY)
    said = score(tuned.ranker, split.validation, context)
    clicked = split.validation["label"].to_numpy()
    assert said.mean() == pytest.approx(clicked.mean(), rel=0.05)


def _labels(head, shots):
    return label_rows(head, shots, JOINT, np.ones(len(shots.slates.label)))


@pytest.fixture
def run(ranker, split, context):
    """An adapter run whose head and adapter are past their zeros, so that gradients reach all."""
    shots, held = (ranker.prepare(part, context) for part in (split.shots, split.validation))
    head = finetune(ranker, split.shots, split.validation, context, HEAD_ONLY).ranker.head
    made = prepare_run(ranker.encoder, head, shots, _labels(head, shots), held, JOINT)
    with torch.no_grad():
        for parameter in made.encoder.trained_parameters():
            parameter.add_(0.05 * torch.ones_like(parameter))
    made.head.eval()
    return made


def test_a_chunked_step_has_the_gradient_of_the_whole_graph(run, monkeypatch):
    monkeypatch.setattr("tasks.recommender.encoder.TOKENS_A_BATCH", 40)  # several chunks
    parameters = [*run.encoder.trained_parameters(), run.head.linear, run.head.sharpness]
    everything = np.arange(len(run.shots.slates.history))
    loss = backward_step(AdapterStep(run, everything), JOINT)
    chunked = [p.grad.clone() for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    slates = run.shots.slates
    vectors = run.tower.embed(np.arange(len(run.shots.items)))
    features = assemble(vectors, slates, run.known[: len(vectors)], run.behaviour_shots)
    whole = listwise(
        run.head.rank(features),
        torch.from_numpy(slates.label.astype(np.float32)),
        torch.from_numpy(slates.slate),
        len(everything),
    )
    whole.backward()
    assert loss.item() == pytest.approx(whole.item(), rel=1e-5)
    assert all(float(gradient.abs().max()) > 0 for gradient in chunked)
    for gradient, parameter in zip(chunked, parameters, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-6)


def test_starting_midway_gives_the_embeddings_of_the_whole_network(run):
    texts = ["goal match", "bank", "soup bread recipe oven"]
    tower = adapter_phase.Tower(run.encoder, texts)
    np.testing.assert_allclose(
        tower.embed_all(np.arange(3)).numpy(), run.encoder.encode(texts), atol=1e-5
    )


def test_only_the_adapter_and_the_head_move(run):
    frozen = {
        name: value.clone()
        for name, value in run.encoder.network.named_parameters()
        if not value.requires_grad
    }
    before = [p.detach().clone() for p in run.encoder.trained_parameters()]
    list(adapter_phase.train_adapter(run, JOINT))
    for name, value in run.encoder.network.named_parameters():
        if name in frozen:
            assert torch.equal(value, frozen[name]), name
    moved = zip(before, run.encoder.trained_parameters(), strict=True)
    assert all(not torch.equal(old, now) for old, now in moved)
    assert len(before) == 8  # A and B of query and value in two layers


def test_the_items_of_an_adapter_run_are_bounded(ranker, split, context):
    shots, held = (ranker.prepare(part, context) for part in (split.shots, split.validation))
    recipe = replace(JOINT, adapter_max_items=25, adapter_negatives=2)
    labels = _labels(ranker.head, shots)
    made = prepare_run(ranker.encoder, ranker.head, shots, labels, held, recipe)
    assert len(made.shots.items) <= 25
    assert len(made.validation.items) <= 25
    slates = made.shots.slates
    assert slates.sizes.max() <= 3
    assert np.bincount(slates.slate, slates.label).min() == 1
    newest = shots.slates.hour[-1]
    assert slates.hour[0] == newest
    ids = shots.slates.items.take(pa.array(made.shots.items[slates.candidate]))
    rows = made.shots.rows
    assert ids.equals(shots.slates.items.take(pa.array(shots.slates.candidate[rows])))


def test_an_adapter_that_is_not_clearly_better_is_dropped(ranker, split, context, monkeypatch):
    tuned = finetune(ranker, split.shots, split.validation, context, JOINT)
    assert [record.epoch for record in tuned.epochs if record.phase == "adapter"] == [1, 2]
    assert not tuned.kept.startswith("adapter")
    assert tuned.ranker.encoder.adapter is None
    assert tuned.ranker.encoder.digest == ranker.encoder.digest


def test_an_adapter_that_is_clearly_better_is_kept(ranker, split, context, monkeypatch):
    monkeypatch.setattr(finetune_module, "clearly_below", lambda *_: True)
    tuned = finetune(ranker, split.shots, split.validation, context, JOINT)
    assert tuned.kept.startswith("adapter")
    assert tuned.ranker.encoder.digest != ranker.encoder.digest
    # What is served is what was measured, though one was embedded midway and the other afresh.
    measured = measure_head(tuned.ranker.head, *_measured(tuned.ranker, split.validation, context))
    assert measured.mean() == pytest.approx(tuned.validation_auc, abs=0.02)


def candidate(words: str, *aucs: float) -> Candidate:
    return Candidate(words, {"w": torch.tensor(float(len(words)))}, np.array(aucs))


def test_the_last_epoch_that_is_not_clearly_worse_is_the_one_to_keep():
    run = Run(patience=1)
    for epoch in ("lucky", "like it", "far below"):
        aucs = {"lucky": [0.9, 0.5], "like it": [0.5, 0.8], "far below": [0.2, -0.2]}[epoch]
        run.add(candidate(epoch, *aucs))
    assert run.most_trained().words == "like it"
    assert run.over
    assert clearly_below(np.array([0.1, 0.2]), np.array([0.5, 0.6]))


def test_half_the_way_is_kept_where_all_of_it_falls_below_the_start():
    start, trained = candidate("start", 0.6, 0.6), candidate("head, epoch 9", 0.5, 0.5)
    state_start, state_end = {"w": torch.tensor(0.0)}, {"w": torch.tensor(1.0)}
    start, trained = replace(start, state=state_start), replace(trained, state=state_end)
    kept = keep(start, trained, lambda state: np.full(2, 0.85 - float(state["w"]) / 2))
    assert kept.words == "head, epoch 9, 50% of the way"
    assert float(kept.state["w"]) == 0.5
    never = keep(start, trained, lambda _: np.full(2, 0.1))
    assert never.words == "start"
