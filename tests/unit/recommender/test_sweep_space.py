"""Which recipes a sweep draws around the configured one."""

from dataclasses import replace

import pytest
from optuna.trial import FixedTrial

from tasks.errors import ModelError
from tasks.recommender.recipe import (
    IA3,
    HeadOnly,
    Lora,
    Optimization,
    Prefix,
    Prompt,
    Recipe,
    Regularize,
)
from tasks.recommender.sweep_space import (
    ALWAYS,
    METHOD,
    METHODS,
    OF_A_METHOD,
    OF_STEPS,
    OF_STEPS_OF_THE_HEAD,
    OF_THE_HEAD,
    OF_THE_NETWORK,
    Space,
    at,
    with_values,
)


def test_every_knob_that_is_turned_is_one_of_the_recipe():
    for knob in (*ALWAYS, *OF_THE_HEAD, *OF_STEPS, *OF_STEPS_OF_THE_HEAD, *OF_THE_NETWORK, METHOD):
        assert at(Recipe(), knob.path) is not None
    for method, knobs in OF_A_METHOD.items():
        for knob in knobs:
            assert at(Recipe(tuning=METHODS[method]()), knob.path) is not None
    assert len(METHODS) == 10


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(tuning=Lora()),
        Recipe(adapter_epochs=0, head_epochs=33),
        Recipe(tuning=IA3(layers=7)),
        Recipe(tuning=Prefix(tokens=3), adapter_epochs=9),
        Recipe(regularize=Regularize(l2_sp=0.123), optimization=Optimization(learning_rate=0.9)),
    ],
)
def test_the_configured_recipe_can_be_drawn_whatever_stands_in_it(recipe):
    assert Space(recipe).draw(FixedTrial(Space(recipe).standing())) == recipe


def test_a_recipe_that_trains_a_head_alone_is_given_no_network_to_train():
    steps = Recipe(tuning=HeadOnly(), head_fit="steps")
    for recipe in (Recipe(tuning=Lora(), adapter_epochs=0), Recipe(tuning=HeadOnly()), steps):
        paths = {knob.path for knob in Space(recipe).knobs()}
        assert not {"tuning.method", "adapter_epochs"} & paths
        assert ("optimization.learning_rate" in paths) == (recipe.head_fit == "steps")


def test_a_ranker_without_a_head_has_only_a_network_to_train():
    prompt = Recipe(ranker=Prompt(), tuning=Lora())
    for_asking = Recipe(ranker=Prompt(mode="zero_shot"))
    assert "head_epochs" not in {knob.path for knob in Space(prompt).knobs()}
    for nothing in (replace(prompt, adapter_epochs=0), for_asking):
        with pytest.raises(ModelError, match="nothing to sweep"):
            Space(nothing).knobs()


def test_another_method_begins_from_its_own_defaults():
    recipe = Recipe(tuning=Lora(rank=3, layers=1))
    assert with_values(recipe, {"tuning.method": "ia3"}).tuning == IA3()
    drawn = Space(recipe).standing() | {"tuning.method": "ia3", "ia3:tuning.layers": 4}
    assert Space(recipe).draw(FixedTrial(drawn)).tuning == IA3(layers=4)
    assert with_values(recipe, {"tuning.rank": 8}).tuning == Lora(rank=8, layers=1)


def test_a_rate_is_drawn_to_the_two_digits_that_are_printed():
    drawn = Space(Recipe(tuning=Lora())).standing() | {"optimization.learning_rate": 0.0012345}
    assert Space(Recipe(tuning=Lora())).draw(FixedTrial(drawn)).optimization.learning_rate == 0.0012


def test_spaces_are_told_apart_by_what_may_be_drawn():
    assert str(Space(Recipe())) == str(Space(Recipe(seed=3)))
    assert str(Space(Recipe())) != str(Space(Recipe(head_epochs=33)))


def test_where_an_adapter_is_carried_on_its_method_stays():
    space = Space(Recipe(tuning=Lora()), keep_tuning=True)
    assert not any(path.startswith("tuning.") for path in space.standing())
    assert "optimization.encoder_learning_rate" in space.standing()
