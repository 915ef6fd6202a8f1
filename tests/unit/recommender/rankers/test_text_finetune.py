from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender.losses import ranking_aucs
from tasks.recommender.rankers.choose import finetune_ranker, zero_shot_ranker
from tasks.recommender.rankers.prompt import Questioning
from tasks.recommender.rankers.ranker import TextRanker
from tasks.recommender.rankers.text_shots import bounded_shots, bounded_validation, label_texts
from tasks.recommender.rankers.text_step import TextStep
from tasks.recommender.rankers.text_training import network_phase, train
from tasks.recommender.recipe import (
    Adversarial,
    Augment,
    Bottleneck,
    Contrast,
    CrossEncoder,
    HeadOnly,
    Lora,
    Objective,
    Optimization,
    Prefix,
    Prompt,
    PromptTuning,
    Recipe,
    Regularize,
    TopLayers,
)
from tasks.recommender.shots import split_by_time
from tasks.recommender.sweep_trial import Bench, preparing_once
from tests.unit.recommender.conftest import make_rows
from tests.unit.recommender.rankers.conftest import TEMPLATE

CROSS = CrossEncoder(max_tokens=40, history=3)
ASK = Prompt(max_tokens=50, history=1)
FAST = Optimization(learning_rate=0.03, encoder_learning_rate=0.02, dropout=0.0)
RECIPE = Recipe(
    ranker=CROSS,
    tuning=Lora(rank=4, alpha=8),
    head_epochs=6,
    adapter_epochs=2,
    slates_per_step=16,
    adapter_slates_per_step=16,
    optimization=FAST,
    regularize=Regularize(l2_sp=0.0),
)

LEARN = replace(
    RECIPE,
    ranker=ASK,
    adapter_epochs=6,
    adapter_slates_per_step=4,
    optimization=replace(FAST, encoder_learning_rate=0.02),
)


@pytest.fixture
def planted(context):
    """Whatever the reader's history, food is clicked: nothing that a text match could know."""
    rows = make_rows(num_slates=100, slate_size=4)
    number = np.array([int(item[1:]) for item in rows["item_id"].to_pylist()])
    labels = pa.array((number % 3 == 2).astype(np.int8))
    rows = rows.set_column(rows.column_names.index("label"), "label", labels)
    return split_by_time(rows, validation_share=0.2, holdout_share=0.2)


@pytest.fixture
def cross_encoder(base_folder) -> TextRanker:
    return zero_shot_ranker(CROSS, str(base_folder), device="cpu", precision="fp32")


def asking(base, settings=ASK) -> TextRanker:
    task = Questioning(base, settings, TEMPLATE)
    return TextRanker(task, task.new_readout(seed=0))


def tune(start, split, context, recipe):
    return finetune_ranker(start, split.shots, split.validation, context, recipe)


def holdout_auc(ranker, split, context) -> float:
    reading = ranker.read(split.holdout, context)
    slates = reading.slates
    return float(ranking_aucs(ranker.rank(reading), slates.label, slates.slate).mean())


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_the_head_alone_learns_a_planted_rule(base_folder, planted, context, output):
    kind = replace(CROSS, output=output)
    start = zero_shot_ranker(kind, str(base_folder), device="cpu", precision="fp32")
    recipe = replace(RECIPE, ranker=kind, tuning=HeadOnly(), head_epochs=25)
    tuned = tune(start, planted, context, recipe)
    assert tuned.kept.startswith("head")
    assert tuned.ranker.weights is None
    assert (
        holdout_auc(tuned.ranker, planted, context)
        > 0.9
        > 0.7
        > holdout_auc(start, planted, context)
    )


@pytest.mark.parametrize("name", ["masked", "llama"])
def test_a_tuned_prompt_learns_a_planted_rule(base_of, planted, context, name):
    settings = replace(ASK, history=0)
    start = asking(base_of(name), settings)
    tuned = tune(start, planted, context, replace(LEARN, ranker=settings))
    assert tuned.kept.startswith("network")
    before, after = (holdout_auc(r, planted, context) for r in (start, tuned.ranker))
    assert after > max(0.75, before + 0.1)


@pytest.mark.parametrize(
    "tuning", [Lora(rank=4, alpha=8), TopLayers(layers=1), Prefix(tokens=3), Bottleneck(width=4)]
)
def test_what_is_not_tuned_stays_bit_for_bit(base_of, planted, context, tuning):
    start = asking(base_of("llama"))
    published = base_of("llama").load_network("causal_lm").state_dict()
    recipe = replace(LEARN, tuning=tuning, adapter_epochs=1)
    ranker, attached, shots, _ = step_of(start, planted, context, recipe)
    before = attached.state()
    list(train(network_phase(ranker, attached, shots, recipe), shots, recipe))
    moved = [name for name, value in attached.state().items() if not value.equal(before[name])]
    assert len(moved) == len(before)
    trained = set(before) & set(published)
    assert trained == {
        name for name in published if isinstance(tuning, TopLayers) and "layers.1." in name
    }
    now = ranker.network.network.state_dict()
    frozen = {name.replace(".base_layer", ""): value for name, value in now.items()}
    for name in published.keys() - trained:
        assert torch.equal(frozen[name], published[name]), name
    ranker.network.detach()
    for name, value in ranker.network.network.state_dict().items():
        assert torch.equal(value, published[name]), name


def test_labels_that_mislead_keep_the_starts_ranking(cross_encoder, planted, context):
    flipped = pa.array(1 - planted.shots["label"].to_numpy())
    place = planted.shots.column_names.index("label")
    wrong = replace(planted, shots=planted.shots.set_column(place, "label", flipped))
    recipe = replace(RECIPE, head_epochs=20, tuning=HeadOnly())
    tuned = tune(cross_encoder, wrong, context, recipe)
    assert tuned.kept == "start"
    assert tuned.epochs[0].phase == "start"
    assert tuned.epochs[-1].validation_auc < tuned.validation_auc
    reading = cross_encoder.read(planted.holdout, context)
    np.testing.assert_array_equal(tuned.ranker.rank(reading), cross_encoder.rank(reading))


@pytest.mark.parametrize("tuning", [Lora(rank=4, alpha=8), PromptTuning(tokens=4)])
def test_no_ranker_falls_below_the_start_on_the_validation(
    cross_encoder, base_of, planted, context, tuning
):
    for start, kind in ((cross_encoder, CROSS), (asking(base_of("masked")), ASK)):
        wild = replace(FAST, encoder_learning_rate=0.5)
        recipe = replace(RECIPE, ranker=kind, tuning=tuning, optimization=wild)
        tuned = tune(start, planted, context, recipe)
        assert tuned.validation_auc >= tuned.epochs[0].validation_auc
        held = start.read(bounded_validation(planted.validation, recipe), context)
        slates = held.slates
        found = ranking_aucs(tuned.ranker.rank(held), slates.label, slates.slate).mean()
        assert found == pytest.approx(tuned.validation_auc, abs=1e-9)


def test_the_start_is_not_changed_and_a_seed_repeats_itself(cross_encoder, planted, context):
    digest = cross_encoder.digest
    recipe = replace(RECIPE, head_epochs=3, adapter_epochs=1)
    first, again = (tune(cross_encoder, planted, context, recipe).ranker for _ in range(2))
    other = tune(cross_encoder, planted, context, replace(recipe, seed=5)).ranker
    assert cross_encoder.digest == digest
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_training_goes_on_from_a_tuned_start(base_of, planted, context):
    recipe = replace(LEARN, adapter_epochs=2)
    first = tune(asking(base_of("masked")), planted, context, recipe)
    champion = first.ranker
    tuned = tune(champion, planted, context, recipe)
    assert tuned.epochs[0].validation_auc == pytest.approx(first.validation_auc)
    own = TextRanker(champion.task, champion.readout, champion.weights)
    for name, value in own.train_network(recipe.tuning, 0, ()).state().items():
        assert torch.equal(value, champion.weights.state[name])
    assert tuned.ranker.weights.state.keys() == champion.weights.state.keys()
    with pytest.raises(ModelError, match="training cannot go on"):
        tune(champion, planted, context, replace(recipe, tuning=Bottleneck()))


def test_in_context_examples_are_kept_only_if_they_do_no_harm(base_of, planted, context):
    settings = replace(ASK, mode="in_context", examples=4, max_tokens=120)
    start = asking(base_of("masked"), settings)
    tuned = tune(start, planted, context, replace(RECIPE, ranker=settings))
    shown = tuned.epochs[1]
    assert shown.phase == "in context"
    kept = shown.validation_auc >= tuned.epochs[0].validation_auc
    assert len(tuned.ranker.task.examples) == (4 if kept else 0)
    assert tuned.kept == ("in context, 4 examples" if kept else "start")
    assert tuned.ranker.weights is None


def test_zero_shot_only_calibrates(base_of, planted, context):
    settings = replace(ASK, mode="zero_shot")
    start = asking(base_of("gpt"), settings)
    tuned = tune(start, planted, context, replace(RECIPE, ranker=settings))
    assert (tuned.kept, tuned.rows) == ("start", 0)
    reading = start.read(planted.holdout, context)
    np.testing.assert_array_equal(tuned.ranker.rank(reading), start.rank(reading))
    found = tuned.ranker.probabilities(planted.validation, context)
    plain = start.probabilities(planted.validation, context)
    clicked = planted.validation["label"].to_numpy()
    assert _log_loss(found, clicked) < _log_loss(plain, clicked)
    assert abs(found.mean() - clicked.mean()) < 0.06


def _log_loss(p, clicked) -> float:
    return float(-np.where(clicked == 1, np.log(p), np.log(1 - p)).mean())


def step_of(start, planted, context, recipe, slates=6):
    ranker = TextRanker(start.task, start.readout, None)
    attached = ranker.train_network(recipe.tuning, 0, ())
    table = bounded_shots(planted.shots, recipe)
    reading = ranker.read(table, context)
    shots = label_texts(ranker, reading, table, recipe)
    rows = np.flatnonzero(reading.slates.slate < slates)
    slate = torch.from_numpy(reading.slates.slate[rows])
    return ranker, attached, shots, TextStep(ranker, shots, (torch.from_numpy(rows), slate, slates))


@pytest.mark.parametrize("name", ["masked", "llama"])
def test_a_step_in_small_batches_has_the_gradient_of_the_whole(
    base_of, planted, context, name, monkeypatch
):
    template = TEMPLATE if name == "masked" else replace(TEMPLATE, negative=("No way",))
    task = Questioning(base_of(name), ASK, template)
    start = TextRanker(task, task.new_readout(seed=0))
    found = []
    for size in (1 << 20, 64):
        monkeypatch.setattr("tasks.recommender.encoder.TOKENS_A_BATCH", size)
        _, attached, _, step = step_of(start, planted, context, replace(RECIPE, ranker=ASK))
        inputs = step.inputs().requires_grad_()
        logits = step.score(inputs)
        (logits * torch.arange(len(logits))).sum().backward()
        gradients = [p.grad for p in attached.parameters() if p.grad is not None]
        assert len(gradients) == len(attached.parameters())
        found.append([logits.detach(), inputs.grad, *gradients])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, atol=2e-3, rtol=1e-3)


def test_a_steps_scores_are_those_of_the_ranker(cross_encoder, planted, context):
    torch.nn.init.normal_(cross_encoder.readout.out.weight)
    ranker, _, shots, step = step_of(cross_encoder, planted, context, RECIPE)
    expected = ranker.rank(shots.reading)[: len(step.clicked)]
    found = step.score(step.inputs()).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
    slates = shots.reading.slates
    assert step.clicked.tolist() == slates.label[: len(found)].tolist()
    assert step.slate.tolist() == slates.slate[: len(found)].tolist()


def test_a_level_gives_the_mean_candidate_the_odds_of_all(cross_encoder, planted, context):
    recipe = replace(RECIPE, objective=Objective(loss="pointwise"))
    _, _, shots, step = step_of(cross_encoder, planted, context, recipe)
    clicks, rows = float(shots.clicked.sum()), len(shots.clicked)
    mean = float(shots.reading.match.mean()) + shots.level.constant.item()
    assert mean == pytest.approx(np.log((clicks + 0.5) / (rows - clicks + 0.5)), abs=1e-4)
    step.score(step.inputs()).sum().backward()
    assert float(shots.level.constant.grad) == len(step.clicked)


@pytest.mark.parametrize(
    "change",
    [
        {"regularize": Regularize(l2_sp=0.0, ewc=50.0)},
        {"regularize": Regularize(l2_sp=0.0, distill=1.0)},
        {"regularize": Regularize(l2_sp=0.0, r_drop=1.0)},
        {"regularize": Regularize(l2_sp=5.0)},
        {"adversarial": Adversarial(method="fgm", epsilon=0.5)},
        {"adversarial": Adversarial(method="freelb", steps=2)},
        {"objective": Objective(loss="bpr")},
        {"objective": Objective(loss="pointwise", label_smoothing=0.1)},
    ],
    ids=lambda change: str(next(iter(change.values())))[:40],
)
def test_each_term_changes_what_is_learned(base_of, planted, context, change):
    start = asking(base_of("masked"))
    recipe = replace(RECIPE, ranker=ASK, adapter_slates=24, adapter_epochs=1)
    states = []
    for asked in (recipe, replace(recipe, **change)):
        torch.manual_seed(0)
        ranker, attached, shots, _ = step_of(start, planted, context, asked)
        (loss,) = train(network_phase(ranker, attached, shots, asked), shots, asked)
        assert np.isfinite(loss)
        states.append(attached.state())
    assert any(not torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_vectors_that_texts_do_not_have_are_refused(cross_encoder, planted, context):
    recipe = replace(RECIPE, contrast=Contrast(info_nce=0.1))
    with pytest.raises(ModelError, match=r"contrast\.info_nce"):
        tune(cross_encoder, planted, context, recipe)
    step = step_of(cross_encoder, planted, context, RECIPE)[3]
    with pytest.raises(ModelError, match=r"contrast\.info_nce"):
        step.affinity(step.inputs())
    with pytest.raises(ModelError, match=r"contrast\.simcse"):
        step.views()


def test_a_prompt_has_no_head_to_train(base_of, planted, context):
    recipe = replace(RECIPE, ranker=ASK, tuning=HeadOnly())
    with pytest.raises(ModelError, match="a prompt has no head"):
        tune(asking(base_of("masked")), planted, context, recipe)


def test_training_reads_a_bounded_number_of_the_newest_rows(planted):
    recipe = replace(RECIPE, adapter_slates=5, adapter_negatives=1)
    shots = bounded_shots(planted.shots, recipe)
    labels = shots.group_by("impression_id").aggregate([("label", "sum"), ("label", "count")])
    assert len(labels) == 5
    assert all(
        n <= s + 1
        for s, n in zip(
            labels["label_sum"].to_pylist(), labels["label_count"].to_pylist(), strict=True
        )
    )
    assert min(shots["event_time"].to_pylist()) > min(planted.shots["event_time"].to_pylist())
    held = bounded_validation(planted.validation, recipe)
    assert 0 < len(held) <= 10
    whole = planted.validation.filter(
        pa.array(np.isin(planted.validation["impression_id"], held["impression_id"]))
    )
    assert len(whole) == len(held)


def test_weights_of_the_shots_reach_the_loss_row_by_row(cross_encoder, planted, context):
    table = planted.shots.slice(0, 12)
    weights = pa.array([None, *np.arange(1.0, 12.0)])
    order = np.random.default_rng(0).permutation(12)
    shuffled = table.append_column("weight", weights).take(pa.array(order))
    reading = cross_encoder.read(shuffled, context)
    shots = label_texts(cross_encoder, reading, shuffled, RECIPE)
    expected = np.array([1.0, *np.arange(1.0, 12.0)])[order][reading.slates.order]
    np.testing.assert_array_equal(shots.weight.numpy(), expected)


def test_without_shots_or_a_telling_validation_the_start_is_kept(cross_encoder, planted, context):
    nothing = planted.shots.slice(0, 0)
    one_sided = planted.validation.filter(pa.array(planted.validation["label"].to_numpy() == 1))
    for shots, validation in (
        (nothing, planted.validation),
        (planted.shots, nothing),
        (planted.shots, one_sided),
    ):
        tuned = finetune_ranker(cross_encoder, shots, validation, context, RECIPE)
        assert (tuned.kept, tuned.rows) == ("start", 0)
        assert tuned.ranker is cross_encoder


def test_each_epoch_is_told_as_it_comes(cross_encoder, planted, context):
    told = []
    recipe = replace(RECIPE, head_epochs=2, adapter_epochs=1)
    tuned = finetune_ranker(
        cross_encoder, planted.shots, planted.validation, context, recipe, progress=told.append
    )
    assert [record.phase for record in told] == ["start", "head", "head", "network"]
    assert tuned.epochs == told
    assert tuned.rows == 3 * len(bounded_shots(planted.shots, recipe))


def test_a_sweep_tries_recipes_on_a_ranker_of_texts(cross_encoder, planted, context):
    assert preparing_once(cross_encoder) is cross_encoder
    bench = Bench(cross_encoder, planted.shots, planted.validation, context)
    told = []
    recipe = replace(RECIPE, head_epochs=3, adapter_epochs=1)
    found = bench.run(recipe, seeds=1, report=lambda step, auc: told.append(step))
    assert told == [1, 2, 3, 1_001]
    assert found.mean() >= bench.aucs(cross_encoder).mean()


def test_a_state_is_chosen_by_relevance_where_the_validation_has_it(
    cross_encoder, planted, context
):
    recipe = replace(RECIPE, tuning=HeadOnly(), head_epochs=25)
    assert tune(cross_encoder, planted, context, recipe).kept.startswith("head")
    never = pa.array(1.0 - planted.validation["label"].to_numpy())
    judged = replace(planted, validation=planted.validation.append_column("relevance", never))
    assert tune(cross_encoder, judged, context, recipe).kept == "start"


def test_altered_copies_are_read_as_texts_too(cross_encoder, planted, context):
    recipe = replace(RECIPE, tuning=HeadOnly(), head_epochs=2, adapter_slates=1_000)
    copies = replace(recipe, augment=Augment(copies=1, token_dropout=0.3))
    plain, more = (tune(cross_encoder, planted, context, each) for each in (recipe, copies))
    assert more.rows > 1.5 * plain.rows
    assert more.ranker.digest != plain.ranker.digest
