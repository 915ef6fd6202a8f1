"""The options of the network's phase on a tiny hybrid: each moves training the way it claims."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender.adapter_phase import backward_step, prepare_run, train_adapter
from tasks.recommender.adapter_step import AdapterStep
from tasks.recommender.finetune import finetune
from tasks.recommender.head_phase import train_head
from tasks.recommender.hybrid import new_head
from tasks.recommender.labelled import label_rows
from tasks.recommender.learning.adversarial import adversarial_loss
from tasks.recommender.learning.contrastive import info_nce, simcse
from tasks.recommender.learning.divergences import divergence
from tasks.recommender.learning.objectives import label_loss
from tasks.recommender.recipe import (
    IA3,
    AdaLora,
    Adversarial,
    Bottleneck,
    Contrast,
    Full,
    Lora,
    Objective,
    Optimization,
    Prefix,
    PromptTuning,
    PTuning,
    Recipe,
    Regularize,
    TopLayers,
)
from tasks.recommender.shots import split_by_time
from tasks.recommender.tower import Noise

FAST = Optimization(learning_rate=0.03, encoder_learning_rate=5e-3, dropout=0.0)
HEAD = Recipe(head_epochs=6, adapter_epochs=0, optimization=FAST, slates_per_step=16)
NETWORK = replace(HEAD, adapter_epochs=3, tuning=Lora(rank=4, alpha=8), adapter_slates_per_step=16)


@pytest.fixture
def split(rows):
    return split_by_time(rows, validation_share=0.25, holdout_share=0.25)


@pytest.fixture
def prepared(ranker, split, context):
    shots, held = (ranker.prepare(part, context) for part in (split.shots, split.validation))
    head = new_head(seed=1)
    head.standardise_on(shots.features)
    labels = label_rows(head, shots, HEAD, np.ones(len(shots.slates.order)))
    list(train_head(head, shots, labels, HEAD))
    return ranker.encoder, head, shots, held


def make_run(prepared, recipe: Recipe):
    encoder, head, shots, held = prepared
    labels = label_rows(head, shots, recipe, np.ones(len(shots.slates.order)))
    torch.manual_seed(0)
    return prepare_run(encoder, head, shots, labels, held, recipe)


def trained(prepared, recipe: Recipe):
    run = make_run(prepared, recipe)
    list(train_adapter(run, recipe))
    return run


def whole(run) -> AdapterStep:
    run.head.eval()
    return AdapterStep(run, np.arange(len(run.shots.slates.history)))


@pytest.mark.parametrize("method", ["fgm", "pgd", "freelb"])
def test_adversarial_training_lowers_the_loss_under_attack(prepared, method):
    attack = Adversarial("pgd", epsilon=0.3, step_size=0.1, steps=5)

    def under_attack(recipe):
        step = whole(trained(prepared, recipe))

        def loss_of(inputs):
            logits = step.score(inputs)
            return label_loss(
                logits, step.clicked, step.slate, step.num_slates, step.weight, Objective()
            )

        inputs = step.inputs()
        return adversarial_loss(loss_of, inputs, loss_of(inputs), attack).item()

    hardened = replace(NETWORK, adversarial=replace(attack, method=method))
    assert under_attack(hardened) < under_attack(NETWORK)


def test_info_nce_brings_users_closer_to_what_they_click(prepared):
    def value(weight):
        longer = replace(NETWORK, adapter_epochs=6, contrast=Contrast(info_nce=weight))
        run = trained(prepared, longer)
        step = whole(run)
        affinity = step.affinity(step.inputs().detach())
        return info_nce(affinity, step.clicked, step.slate, step.weight, Contrast()).item()

    assert value(2.0) < 0.9 * value(0.0)


def test_simcse_tells_texts_further_apart_than_their_dropout(prepared):
    def value(weight):
        run = trained(prepared, replace(NETWORK, contrast=Contrast(simcse=weight)))
        torch.manual_seed(3)
        return simcse(*whole(run).views(), 0.05).item()

    assert value(2.0) < 0.9 * value(0.0)


class WholeGraph(AdapterStep):
    """The same step without GradCache: items are embedded with their graph."""

    def inputs(self):
        run, items = self._run, self._drawn.items
        parts = run.tower.batches(items)
        found = torch.cat([run.tower.embed(items[part]) for part in parts])
        return found[torch.from_numpy(np.argsort(np.concatenate(parts), kind="stable"))]


TERMS = {
    "labels": {},
    "r_drop": {"regularize": Regularize(r_drop=1.0)},
    "distill": {"regularize": Regularize(distill=1.0)},
    "fgm": {"adversarial": Adversarial("fgm")},
    "pgd": {"adversarial": Adversarial("pgd")},
    "freelb": {"adversarial": Adversarial("freelb")},
    "info_nce": {"contrast": Contrast(info_nce=1.0, hard_negatives=3)},
}
METHODS = [
    Full(),
    TopLayers(layers=1),
    Lora(rank=4, alpha=8),
    AdaLora(start_rank=6, rank=4, alpha=8),
    IA3(),
    Prefix(tokens=2),
    PromptTuning(tokens=2),
    PTuning(tokens=2, hidden=8),
    Bottleneck(width=4),
]


def gradient_of(kind, run, recipe):
    parameters = [*run.encoder.trained_parameters(), *run.head.parameters()]
    for parameter in parameters:
        parameter.grad = None
    run.head.train()
    torch.manual_seed(0)
    backward_step(kind(run, np.arange(20)), recipe)
    return {k: p.grad.clone() for k, p in enumerate(parameters) if p.grad is not None}


def assert_same_gradient(prepared, recipe):
    run = make_run(prepared, recipe)
    with torch.no_grad():
        for parameter in run.encoder.trained_parameters():
            parameter.add_(0.02)
    chunked, whole = (gradient_of(kind, run, recipe) for kind in (AdapterStep, WholeGraph))
    assert chunked.keys() == whole.keys()
    assert any(float(chunked[k].abs().max()) > 0 for k in chunked)
    for k, gradient in whole.items():
        torch.testing.assert_close(chunked[k], gradient, rtol=1e-2, atol=2e-5)


@pytest.mark.parametrize("term", TERMS)
def test_every_term_has_the_gradient_of_the_whole_graph(prepared, term, monkeypatch):
    monkeypatch.setattr("tasks.recommender.encoder.TOKENS_A_BATCH", 40)  # several chunks
    recipe = replace(NETWORK, optimization=replace(FAST, dropout=0.2), **TERMS[term])
    assert_same_gradient(prepared, recipe)


@pytest.mark.parametrize("tuning", METHODS, ids=lambda tuning: tuning.method)
def test_every_tuning_has_the_gradient_of_the_whole_graph_and_lowers_the_loss(prepared, tuning):
    recipe = replace(NETWORK, tuning=tuning, regularize=Regularize(l2_sp=0.0))
    assert_same_gradient(prepared, recipe)
    run = make_run(prepared, recipe)
    losses = list(train_adapter(run, recipe))
    assert losses[-1] < losses[0]


def test_the_adapter_s_own_dropout_is_on_in_training_steps_and_off_in_measurements(prepared):
    recipe = replace(NETWORK, tuning=Lora(rank=4, alpha=8, dropout=0.5))
    run = make_run(prepared, recipe)
    with torch.no_grad():
        for parameter in run.encoder.trained_parameters():
            parameter.add_(0.05)
    slates = np.arange(20)
    plain = AdapterStep(run, slates).inputs()
    dropped, again, other = (AdapterStep(run, slates, Noise(k)).inputs() for k in (1, 1, 2))
    assert torch.equal(dropped, again)
    assert not torch.allclose(dropped, plain, atol=1e-3)
    assert not torch.allclose(dropped, other, atol=1e-3)
    assert torch.equal(AdapterStep(run, slates).inputs(), plain)


def test_simcse_pushes_back_the_gradient_of_the_dropout_that_it_drew(prepared, monkeypatch):
    run = make_run(prepared, NETWORK)
    with torch.no_grad():
        for parameter in run.encoder.trained_parameters():
            parameter.add_(0.05)
    step = whole(run)
    first, second = step.views()
    simcse(first, second, 0.1).backward()
    passes = [(noise, items) for _, items, noise in step._leaves]
    step.push_back()
    chunked = [p.grad.clone() for p in run.encoder.trained_parameters()]
    for parameter in run.encoder.trained_parameters():
        parameter.grad = None

    def again(noise, items):
        run.encoder.network.train()
        torch.manual_seed(noise.seed)
        parts = run.tower.batches(items)
        found = torch.cat([run.tower.embed(items[part]) for part in parts])
        run.encoder.network.eval()
        return found[torch.from_numpy(np.argsort(np.concatenate(parts), kind="stable"))]

    views = [again(*each) for each in passes]
    torch.testing.assert_close(views[0].detach(), first.detach())
    simcse(*views, 0.1).backward()
    for gradient, parameter in zip(chunked, run.encoder.trained_parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-6)
    assert any(float(g.abs().max()) > 0 for g in chunked)


def test_simcse_without_dropout_says_what_to_do(prepared):
    run = make_run(prepared, NETWORK)
    for module in run.encoder.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    with pytest.raises(ModelError, match=r"simcse.*has none\. Set tuning\.dropout"):
        whole(run).views()


def test_the_network_stays_near_the_start_under_l2_sp_and_ewc(prepared):
    def travelled(regularize):
        recipe = replace(NETWORK, regularize=regularize)
        start = [
            p.detach().clone() for p in make_run(prepared, recipe).encoder.trained_parameters()
        ]
        now = trained(prepared, recipe).encoder.trained_parameters()
        moves = [float((a - b).detach().norm()) for a, b in zip(now, start, strict=True)]
        return float(np.linalg.norm(moves))

    free = travelled(Regularize(l2_sp=0.0))
    assert travelled(Regularize(l2_sp=50.0)) < 0.9 * free
    assert travelled(Regularize(l2_sp=0.0, ewc=1000.0)) < 0.9 * free


def test_distillation_holds_the_network_to_where_training_started(prepared):
    def apart(distill):
        recipe = replace(NETWORK, regularize=Regularize(l2_sp=0.0, distill=distill))
        asked = replace(recipe, regularize=Regularize(distill=1.0))
        encoder, head, shots, held = prepared
        labels = label_rows(head, shots, asked, np.ones(len(shots.slates.order)))
        torch.manual_seed(0)
        run = prepare_run(encoder, head, shots, labels, held, recipe)
        list(train_adapter(run, recipe))
        step = whole(run)
        logits = step.score(step.inputs()).detach()
        return divergence(step.start, logits, step.slate, step.num_slates).item()

    assert apart(5.0) < 0.5 * apart(0.0)


def test_mixed_precision_computes_coarser_and_keeps_weights_in_float32(prepared):
    def of(mixed):
        recipe = replace(NETWORK, optimization=replace(FAST, mixed_precision=mixed))
        run = make_run(prepared, recipe)
        with torch.no_grad():
            for parameter in run.encoder.trained_parameters():
                parameter.add_(0.05)
        run.head.eval()
        loss = backward_step(AdapterStep(run, np.arange(30)), recipe).item()
        parameters = run.encoder.trained_parameters()
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in parameters)
        return loss, torch.cat([p.grad.flatten() for p in parameters])

    (fine, gradient), (coarse, rough) = of(mixed=False), of(mixed=True)
    assert coarse != fine
    assert coarse == pytest.approx(fine, rel=0.02)
    assert torch.nn.functional.cosine_similarity(gradient, rough, dim=0) > 0.98


def test_gathered_steps_of_the_network_are_one_larger_step(prepared):
    def weights(per_step, accumulate):
        optimization = replace(FAST, optimizer="sgd", accumulate=accumulate)
        recipe = replace(
            NETWORK,
            adapter_epochs=1,
            adapter_slates_per_step=per_step,
            optimization=optimization,
            regularize=Regularize(l2_sp=0.0),
        )
        parameters = trained(prepared, recipe).encoder.trained_parameters()
        return torch.cat([p.detach().flatten() for p in parameters])

    torch.testing.assert_close(weights(10, 3), weights(30, 1), rtol=1e-3, atol=1e-6)


def test_a_moved_vector_is_scored_as_a_direction(prepared):
    step = whole(make_run(prepared, NETWORK))
    inputs = step.inputs()
    torch.testing.assert_close(step.score(3.0 * inputs), step.score(inputs), rtol=1e-4, atol=1e-4)


def test_everything_at_once_is_reproducible(ranker, split, context):
    recipe = replace(
        NETWORK,
        head_epochs=2,
        adapter_epochs=1,
        optimization=replace(FAST, dropout=0.1, clip_norm=1.0, accumulate=2, schedule="cosine"),
        objective=Objective("bpr", 0.1),
        regularize=Regularize(0.1, 0.1, 0.1, 2.0, 0.1),
        adversarial=Adversarial("freelb"),
        contrast=Contrast(0.1, 5, 0.1),
    )

    def losses(noise):
        torch.manual_seed(noise)
        tuned = finetune(ranker, split.shots, split.validation, context, recipe)
        return [record.train_loss for record in tuned.epochs]

    first = losses(1)
    assert losses(2) == first
    assert len(first) == 1 + 2 + 1
    assert np.isfinite(first[1:]).all()


def test_a_recipe_that_contradicts_itself_trains_nothing(ranker, split, context):
    recipe = replace(HEAD, adversarial=Adversarial("fgm"))
    with pytest.raises(ModelError, match=r"contradicts itself:\n  adversarial\.method: fgm"):
        finetune(ranker, split.shots, split.validation, context, recipe)
