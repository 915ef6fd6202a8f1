from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.bar import Bar
from tasks.evaluation.contest import Contest
from tasks.evaluation.gate import challenger_wins, decide
from tasks.evaluation.metrics import Metrics

METRICS = Metrics(0.66, 0.65, 0.3, 0.3, 0.4, 0.16, 0.01, 300, 11_000)


def contest(gain, low, high, impressions=300):
    return Contest(
        champion_auc=0.66,
        challenger_auc=0.66 + gain,
        gain=gain,
        low=low,
        high=high,
        confidence=0.95,
        standard_error=(high - low) / 4,
        impressions=impressions,
        users=290,
        champion=METRICS,
        challenger=METRICS,
    )


def bar(min_gain=0.002, min_impressions=2):
    return Bar(min_gain, level=0.025, min_impressions=min_impressions, looks=1)


def swapped(held):
    return replace(held, gain=-held.gain, low=-held.high, high=-held.low)


@st.composite
def contests(draw):
    """Any gain with an interval around it, not always centred; sometimes it is only a point."""
    gain = draw(st.floats(-1, 1))
    below, above = (draw(st.one_of(st.just(0.0), st.floats(0, 1))) for _ in range(2))
    return contest(gain, gain - below, gain + above)


def test_a_gain_whose_interval_clears_the_bar_is_promoted():
    verdict = decide(contest(0.012, 0.004, 0.020), bar())
    assert verdict.decision == "promote"
    assert verdict.reason == (
        "gain +0.0120 (95 % interval +0.0040 to +0.0200) clears min_gain 0.002"
    )


def test_a_gain_that_took_days_to_show_says_how_many():
    held = replace(contest(0.012, 0.004, 0.020), looks=3)
    assert "(95 % interval +0.0040 to +0.0200 after 3 days)" in decide(held, bar()).reason


def test_a_gain_above_the_bar_by_chance_alone_is_not_promoted():
    verdict = decide(contest(0.012, -0.001, 0.025), bar())
    assert verdict.decision == "not enough evidence"
    # 0.002 + (0.012 − (−0.001)) is what this noise would have let through
    assert verdict.reason.endswith(
        "300 impressions of 290 users could only have shown a gain of +0.0150 or more"
    )


def test_a_gain_above_zero_but_not_above_the_bar_is_not_promoted():
    assert decide(contest(0.012, 0.001, 0.02), bar()).decision == "not enough evidence"


def test_a_gain_below_the_bar_stays_in_shadow_while_the_bar_may_still_be_reached():
    assert decide(contest(0.001, -0.01, 0.012), bar()).decision == "not enough evidence"
    assert decide(contest(-0.001, -0.01, 0.008), bar()).decision == "not enough evidence"


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (contest(-0.02, -0.03, -0.01), "is no gain over the champion"),
        (contest(0.0, 0.0, 0.0), "gain +0.0000"),
        (contest(0.001, 0.0005, 0.0015), "stays below min_gain 0.002"),
    ],
)
def test_a_challenger_that_gains_too_little_leaves_the_champion_in_place(held, words):
    verdict = decide(held, bar())
    assert verdict.decision == "reject"
    assert words in verdict.reason


def test_too_few_impressions_are_no_evidence_either_way():
    for held in (contest(0.3, 0.2, 0.4, impressions=99), contest(-0.3, -0.4, -0.2, impressions=99)):
        verdict = decide(held, bar(min_impressions=100))
        assert verdict.decision == "not enough evidence"
        assert "99 judged impressions are fewer than the min_impressions of 100" in verdict.reason


def test_two_equal_models_never_replace_each_other_even_without_a_bar():
    assert not challenger_wins(contest(0.0, 0.0, 0.0), min_gain=0.0)


@given(contests(), st.floats(0, 0.5))
def test_of_two_models_at_most_one_can_replace_the_other(held, min_gain):
    wins = challenger_wins(held, min_gain=min_gain)
    assert not (wins and challenger_wins(swapped(held), min_gain=min_gain))


@given(contests(), st.floats(0, 0.5))
def test_promoted_means_a_gain_of_at_least_the_bar_and_a_reason_with_figures(held, min_gain):
    verdict = decide(held, bar(min_gain))
    if verdict.decision == "promote":
        assert held.gain >= min_gain
        assert held.low > 0
    assert "95 % interval" in verdict.reason


@given(contests(), st.floats(0, 0.4), st.floats(0, 0.1))
def test_a_higher_bar_never_promotes_what_a_lower_one_kept(held, min_gain, more):
    if challenger_wins(held, min_gain=min_gain + more):
        assert challenger_wins(held, min_gain=min_gain)
