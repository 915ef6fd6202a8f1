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

SENSIBLE = [
    Recipe(),
    Recipe(tuning=HeadOnly()),
    Recipe(adapter_epochs=0),
    Recipe(head_epochs=0, adapter_epochs=0),
    Recipe(tuning=Full()),
    Recipe(adversarial=Adversarial("freelb"), contrast=Contrast(1.0, 5, 0.1)),
    Recipe(regularize=Regularize(ewc=1.0, distill=1.0, r_drop=1.0)),
    Recipe(adapter_epochs=0, head_fit="steps", regularize=Regularize(r_drop=1.0)),
    Recipe(adapter_epochs=0, regularize=Regularize(ewc=1.0, distill=1.0)),
    Recipe(long_short=True, unlabelled=Unlabelled(pretrain="contrastive", pseudo_labels=0.9)),
    Recipe(augment=Augment(copies=2, synonyms=0.1, synonyms_from="masked_lm", masked_lm="m")),
    Recipe(selection=Selection(negatives=4, hardness=0.5)),
    Recipe(optimization=Optimization(schedule="constant", warmup_share=1.0)),
    Recipe(ranker=Prompt(mode="zero_shot")),
    Recipe(ranker=Prompt(mode="in_context"), tuning=HeadOnly()),
    Recipe(ranker=CrossEncoder(), tuning=HeadOnly()),
    Recipe(
        ranker=CrossEncoder(),
        regularize=Regularize(r_drop=1.0),
        optimization=Optimization(dropout=0),
    ),
]
FGM = Adversarial("fgm")
SENSELESS: list[tuple[Recipe, str]] = [
    (Recipe(adapter_epochs=0, adversarial=FGM), "adversarial.method: fgm"),
    (Recipe(tuning=HeadOnly(), adversarial=FGM), "adversarial.method: fgm"),
    (Recipe(ranker=Prompt(mode="zero_shot"), adversarial=FGM), "adversarial.method: fgm"),
    (Recipe(adapter_epochs=0, contrast=Contrast(info_nce=0.5)), "contrast.info_nce: 0.5"),
    (Recipe(tuning=HeadOnly(), contrast=Contrast(simcse=0.5)), "contrast.simcse: 0.5"),
    (Recipe(ranker=CrossEncoder(), contrast=Contrast(info_nce=0.5)), "contrast.info_nce: 0.5"),
    (Recipe(ranker=Prompt(), contrast=Contrast(simcse=0.5)), "contrast.simcse: 0.5"),
    (Recipe(contrast=Contrast(hard_negatives=3)), "contrast.hard_negatives: 3"),
    (Recipe(adapter_epochs=0, long_short=True), "long_short: true"),
    (Recipe(tuning=HeadOnly(), long_short=True), "long_short: true"),
    (Recipe(tuning=TopLayers(), long_short=True), "long_short: true"),
    (Recipe(ranker=CrossEncoder(), long_short=True), "long_short: true"),
    (Recipe(ranker=CrossEncoder(), tuning=TopLayers(), long_short=True), "long_short: true"),
    (Recipe(ranker=Prompt(mode="zero_shot"), long_short=True), "long_short: true"),
    (
        Recipe(ranker=CrossEncoder(), unlabelled=Unlabelled(pseudo_labels=0.9)),
        "unlabelled.pseudo_labels: 0.9",
    ),
    (Recipe(ranker=Prompt(), unlabelled=Unlabelled("masked_lm")), "unlabelled.pretrain: masked_lm"),
    (
        Recipe(tuning=HeadOnly(), unlabelled=Unlabelled("masked_lm")),
        "unlabelled.pretrain: masked_lm",
    ),
    (Recipe(head_epochs=0), "head_epochs: 0"),
    (Recipe(ranker=Prompt(), tuning=HeadOnly()), "ranker.mode: tuned"),
    (Recipe(ranker=Prompt(), adapter_epochs=0), "ranker.mode: tuned"),
    (Recipe(ranker=Prompt(mode="in_context"), propensity=True), "propensity: true"),
    (
        Recipe(ranker=Prompt(mode="zero_shot"), augment=Augment(copies=1, synonyms=0.1)),
        "augment.copies: 1",
    ),
    (
        Recipe(ranker=Prompt(mode="zero_shot"), unlabelled=Unlabelled(pseudo_labels=0.9)),
        "unlabelled.pseudo_labels: 0.9",
    ),
    (Recipe(objective=Objective(label_smoothing=1.0)), "objective.label_smoothing: 1.0"),
    (
        Recipe(regularize=Regularize(r_drop=0.5), optimization=Optimization(dropout=0.0)),
        "regularize.r_drop: 0.5",
    ),
    (Recipe(adapter_epochs=0, regularize=Regularize(r_drop=0.5)), "regularize.r_drop: 0.5"),
    (Recipe(tuning=HeadOnly(), regularize=Regularize(r_drop=0.5)), "regularize.r_drop: 0.5"),
    (Recipe(optimization=Optimization(dropout=1.0)), "optimization.dropout: 1.0"),
    (Recipe(tuning=Lora(dropout=1.0)), "tuning.dropout: 1.0"),
    (Recipe(optimization=Optimization(warmup_share=1.0)), "optimization.warmup_share: 1.0"),
    (
        Recipe(optimization=Optimization(schedule="cosine", floor_share=1.0)),
        "optimization.floor_share: 1.0",
    ),
    (Recipe(regularize=Regularize(l2_sp=400.0)), "regularize.l2_sp: 400.0"),
    (
        Recipe(optimization=Optimization(learning_rate=0.1, weight_decay=20.0)),
        "optimization.weight_decay: 20.0",
    ),
    (Recipe(augment=Augment(copies=2)), "augment.copies: 2"),
    (Recipe(augment=Augment(synonyms=0.2)), "augment.synonyms: 0.2"),
    (Recipe(augment=Augment(back_translation=("a", "b"))), "augment.back_translation: a, b"),
    (Recipe(augment=Augment(copies=1, token_dropout=1.0)), "augment.token_dropout: 1.0"),
    (
        Recipe(augment=Augment(copies=1, synonyms=0.2, synonyms_from="masked_lm")),
        "augment.synonyms_from: masked_lm",
    ),
    (
        Recipe(augment=Augment(copies=1, synonyms=0.2, masked_lm="some/model")),
        "augment.masked_lm: some/model",
    ),
    (Recipe(selection=Selection(hardness=0.5)), "selection.hardness: 0.5"),
    (Recipe(tuning=AdaLora(start_rank=8, rank=8)), "tuning.rank: 8"),
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
        Recipe(tuning=HeadOnly(), adversarial=FGM, objective=Objective(label_smoothing=1.0)),
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
    assert trains_network(replace(Recipe(), **change)) is trains
