import pytest

from tasks.errors import ConfigError
from tasks.simulator.settings import DEFAULT_STRENGTHS, Shift, SimulatorSettings, parse_shift


def test_a_shift_is_written_as_kind_and_day():
    assert parse_shift("category_mix:5") == Shift("category_mix", 5)
    assert parse_shift("click_rate:3:-0.5") == Shift("click_rate", 3, -0.5)


def test_a_shift_without_strength_has_its_kinds_own():
    assert {kind: Shift(kind, 1).size for kind in DEFAULT_STRENGTHS} == DEFAULT_STRENGTHS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("category_mix", "KIND:DAY"),
        ("category_mix:friday", "KIND:DAY"),
        ("category_mix:5:much", "KIND:DAY"),
        ("colour:5", "one of category_mix, click_rate"),
        ("category_mix:0", "1 is the first"),
        ("category_mix:5:1.5", "at most 1"),
        ("category_mix:5:-0.1", "above 0"),
        ("click_rate:5:-1", "above -1"),
        ("click_rate:5:0", "not 0"),
        ("new_topic:5:nan", "at most 1"),
    ],
)
def test_an_impossible_shift_is_refused_with_the_rule(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_shift(text)


def test_all_wrong_values_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        SimulatorSettings(num_users=0, slate_size=1, click_rate=0.9, late_share=float("nan"))
    said = str(refused.value).splitlines()
    assert [line.split()[0] for line in said] == [
        "num_users",
        "slate_size",
        "click_rate",
        "late_share",
    ]
    assert said[0] == "num_users is 0; it must be a whole number of 1 or more. Change it."
    assert said[2] == "click_rate is 0.9; it must lie in 0.001 to 0.5. Change it."


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"topics": 15}, "15 topics and 0 new ones are more than the 14"),
        ({"topics": 14, "shifts": (Shift("new_topic", 2),)}, "14 topics and 1 new ones"),
        ({"births_per_day": 3}, "18 items are live at a time, fewer than three slates of 10"),
        ({"click_rate": 0.3, "position_bias": 2.0}, "out of reach"),
        ({"impressions_per_day": 3_000_000}, "30,000,000 rows; a day is built in memory"),
        ({"num_users": 1.5}, "whole number"),
    ],
)
def test_values_that_do_not_go_together_are_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        SimulatorSettings(**wrong)
