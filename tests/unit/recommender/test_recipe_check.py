from dataclasses import replace
from typing import Any

import pytest

from tasks.errors import ModelError
from tasks.recommender.recipe import (
    AdaLora,
    Adversarial,
    Augment,
    Contrast,
    CrossEncoder,
    Full,
    HeadOnly,
    Lora,
    Objective,
    Optimization,
    Prompt,
    Recipe,
    Regularize,
    Selection,
    TopLayers,
    Unlabelled,
)
from tasks.recommender.recipe_check import check_recipe, require_sense, trains_network


def trained(**knobs) -> Recipe:
    """A recipe that trains the network, unless `knobs` say otherwise."""
    return Recipe(**{"tuning": Lora(), **knobs})


SENSIBLE = [
    trained(),
    trained(tuning=HeadOnly()),
    trained(adapter_epochs=0),
    trained(head_epochs=0, adapter_epochs=0),
    trained(tuning=Full()),
    trained(adversarial=Adversarial("freelb"), contrast=Contrast(1.0, 5, 0.1)),
    trained(regularize=Regularize(ewc=1.0, distill=1.0, r_drop=1.0)),
    trained(adapter_epochs=0, head_fit="steps", regularize=Regularize(r_drop=1.0)),
    trained(adapter_epochs=0, regularize=Regularize(ewc=1.0, distill=1.0)),
    trained(long_short=True, unlabelled=Unlabelled(pretrain="contrastive", pseudo_labels=0.9)),
    trained(augment=Augment(copies=2, synonyms=0.1, synonyms_from="masked_lm", masked_lm="m")),
    trained(selection=Selection(negatives=4, hardness=0.5)),
    trained(optimization=Optimization(schedule="constant", warmup_share=1.0)),
    trained(ranker=Prompt(mode="zero_shot")),
    trained(ranker=Prompt(mode="in_context"), tuning=HeadOnly()),
    trained(ranker=CrossEncoder(), tuning=HeadOnly()),
    trained(
        ranker=CrossEncoder(),
        regularize=Regularize(r_drop=1.0),
        optimization=Optimization(dropout=0),
    ),
]
FGM = Adversarial("fgm")
SENSELESS: list[tuple[Recipe, str]] = [
    (trained(adapter_epochs=0, adversarial=FGM), "adversarial.method: fgm"),
    (trained(tuning=HeadOnly(), adversarial=FGM), "adversarial.method: fgm"),
    (trained(ranker=Prompt(mode="zero_shot"), adversarial=FGM), "adversarial.method: fgm"),
    (trained(adapter_epochs=0, contrast=Contrast(info_nce=0.5)), "contrast.info_nce: 0.5"),
    (trained(tuning=HeadOnly(), contrast=Contrast(simcse=0.5)), "contrast.simcse: 0.5"),
    (trained(ranker=CrossEncoder(), contrast=Contrast(info_nce=0.5)), "contrast.info_nce: 0.5"),
    (trained(ranker=Prompt(), contrast=Contrast(simcse=0.5)), "contrast.simcse: 0.5"),
    (trained(contrast=Contrast(hard_negatives=3)), "contrast.hard_negatives: 3"),
    (trained(adapter_epochs=0, long_short=True), "long_short: true"),
    (trained(tuning=HeadOnly(), long_short=True), "long_short: true"),
    (trained(tuning=TopLayers(), long_short=True), "long_short: true"),
    (trained(ranker=CrossEncoder(), long_short=True), "long_short: true"),
    (trained(ranker=CrossEncoder(), tuning=TopLayers(), long_short=True), "long_short: true"),
    (trained(ranker=Prompt(mode="zero_shot"), long_short=True), "long_short: true"),
    (
        trained(ranker=CrossEncoder(), unlabelled=Unlabelled(pseudo_labels=0.9)),
        "unlabelled.pseudo_labels: 0.9",
    ),
    (
        trained(ranker=Prompt(), unlabelled=Unlabelled("masked_lm")),
        "unlabelled.pretrain: masked_lm",
    ),
    (
        trained(tuning=HeadOnly(), unlabelled=Unlabelled("masked_lm")),
        "unlabelled.pretrain: masked_lm",
    ),
    (trained(head_epochs=0), "head_epochs: 0"),
    (trained(ranker=Prompt(), tuning=HeadOnly()), "ranker.mode: tuned"),
    (trained(ranker=Prompt(), adapter_epochs=0), "ranker.mode: tuned"),
    (trained(ranker=Prompt(mode="in_context"), propensity=True), "propensity: true"),
    (
        trained(ranker=Prompt(mode="zero_shot"), augment=Augment(copies=1, synonyms=0.1)),
        "augment.copies: 1",
    ),
    (
        trained(ranker=Prompt(mode="zero_shot"), unlabelled=Unlabelled(pseudo_labels=0.9)),
        "unlabelled.pseudo_labels: 0.9",
    ),
    (trained(objective=Objective(label_smoothing=1.0)), "objective.label_smoothing: 1.0"),
    (
        trained(regularize=Regularize(r_drop=0.5), optimization=Optimization(dropout=0.0)),
        "regularize.r_drop: 0.5",
    ),
    (trained(adapter_epochs=0, regularize=Regularize(r_drop=0.5)), "regularize.r_drop: 0.5"),
    (trained(tuning=HeadOnly(), regularize=Regularize(r_drop=0.5)), "regularize.r_drop: 0.5"),
    (trained(optimization=Optimization(dropout=1.0)), "optimization.dropout: 1.0"),
    (trained(tuning=Lora(dropout=1.0)), "tuning.dropout: 1.0"),
    (trained(optimization=Optimization(warmup_share=1.0)), "optimization.warmup_share: 1.0"),
    (
        trained(optimization=Optimization(schedule="cosine", floor_share=1.0)),
        "optimization.floor_share: 1.0",
    ),
    (trained(regularize=Regularize(l2_sp=400.0)), "regularize.l2_sp: 400.0"),
    (
        trained(optimization=Optimization(learning_rate=0.1, weight_decay=20.0)),
        "optimization.weight_decay: 20.0",
    ),
    (trained(augment=Augment(copies=2)), "augment.copies: 2"),
    (trained(augment=Augment(synonyms=0.2)), "augment.synonyms: 0.2"),
    (trained(augment=Augment(back_translation=("a", "b"))), "augment.back_translation: a, b"),
    (trained(augment=Augment(copies=1, token_dropout=1.0)), "augment.token_dropout: 1.0"),
    (
        trained(augment=Augment(copies=1, synonyms=0.2, synonyms_from="masked_lm")),
        "augment.synonyms_from: masked_lm",
    ),
    (
        trained(augment=Augment(copies=1, synonyms=0.2, masked_lm="some/model")),
        "augment.masked_lm: some/model",
    ),
    (trained(selection=Selection(hardness=0.5)), "selection.hardness: 0.5"),
    (trained(tuning=AdaLora(start_rank=8, rank=8)), "tuning.rank: 8"),
]


@pytest.mark.parametrize("recipe", SENSIBLE)
def test_what_makes_sense_is_not_complained_about(recipe):
    assert check_recipe(recipe) == []
    require_sense(recipe)


@pytest.mark.parametrize(("recipe", "begins"), SENSELESS, ids=[words for _, words in SENSELESS])
def test_a_complaint_names_path_and_value_rule_and_next_step(recipe, begins):
    (complaint,) = check_recipe(recipe)
    assert complaint.startswith(begins)
    assert any(step in complaint for step in ("set ", "choose ", "raise ", "remove "))


def test_all_complaints_are_told_at_once():
    recipe = replace(
        trained(tuning=HeadOnly(), adversarial=FGM, objective=Objective(label_smoothing=1.0)),
        selection=Selection(hardness=1.0),
    )
    with pytest.raises(ModelError) as raised:
        require_sense(recipe)
    for path in ("adversarial.method", "objective.label_smoothing", "selection.hardness"):
        assert f"\n  {path}: " in str(raised.value)


@pytest.mark.parametrize(
    ("change", "trains"),
    [
        ({}, True),
        ({"tuning": HeadOnly()}, False),
        ({"adapter_epochs": 0}, False),
        ({"ranker": Prompt(mode="tuned")}, True),
        ({"ranker": Prompt(mode="zero_shot")}, False),
    ],
)
def test_a_network_is_trained_if_the_recipe_says_so(change: dict[str, Any], trains):
    assert trains_network(replace(trained(), **change)) is trains
