"""Any, all, and a vote between; the cool-down; and a probe that is asked only where it counts."""

from datetime import timedelta

import pytest
from facts import DAY, make_facts
from hypothesis import given
from hypothesis import strategies as st

from tasks.trigger.decide import NO_CHAMPION, Decision, Policy, decide_retrain
from tasks.trigger.opinions import Facts, Opinion
from tasks.trigger.rules import Always, Cadence, Probe, Rule

YES, NO = Always(), Cadence(every_days=9)
NEVER = "champion v3 has seen nothing for 2 days, cadence 9 days"


class Prober:
    """Answers a probe, and counts how often it was asked."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, rule: Probe) -> Opinion:
        self.asked += 1
        return Opinion("probe 256", self.answers.pop(0), "a probe gains +0.01", seconds=2.0)


def decide(
    *rules: Rule,
    needed: int = 1,
    cool_down_days: int = 0,
    facts: Facts | None = None,
    prober: Prober | None = None,
) -> Decision:
    policy = Policy(rules, needed, cool_down_days)
    return decide_retrain(policy, facts or make_facts(), prober or Prober())


def test_without_a_champion_the_answer_is_yes_whatever_the_rules_say():
    facts = make_facts(champion=None, trained=DAY - timedelta(days=1))
    found = decide(NO, Probe(), needed=2, cool_down_days=9, facts=facts)
    assert (found.retrain, found.reasons) == (True, ["no champion yet"])
    assert [opinion.rule for opinion in found.opinions] == [NO_CHAMPION]


def test_one_rule_that_speaks_is_enough_for_any_and_alone_gives_the_reason():
    found = decide(NO, YES)
    assert (found.retrain, found.reasons) == (True, ["every day"])
    assert [opinion.spoke for opinion in found.opinions] == [False, True]


def test_where_none_speaks_all_say_why():
    found = decide(NO, Cadence(every_days=8))
    assert not found.retrain
    assert found.reasons == [NEVER, NEVER.replace("9", "8")]


def test_for_all_one_silent_rule_is_enough_for_a_no_and_gives_the_reason():
    found = decide(NO, YES, needed=2)
    assert not found.retrain
    assert found.reasons == ["1 of the 2 rules needed spoke", NEVER]
    assert decide(YES, YES, needed=2).reasons == ["every day", "every day"]


def test_a_vote_counts():
    assert decide(YES, NO, YES, needed=2).retrain
    assert not decide(YES, NO, NO, needed=2).retrain


@pytest.mark.parametrize(("ago", "retrain"), [(1, False), (2, False), (3, True)])
def test_within_the_cool_down_nothing_is_asked(ago, retrain):
    facts = make_facts(trained=DAY - timedelta(days=ago))
    prober = Prober(True)
    found = decide(Probe(), cool_down_days=2, facts=facts, prober=prober)
    assert (found.retrain, prober.asked) == (retrain, int(retrain))
    if not retrain:
        days = "1 day" if ago == 1 else "2 days"
        assert found.reasons == [
            f"cool-down: a challenger was trained {days} ago, and none follows within 2 days"
        ]
        assert found.opinions == []


def test_a_pipeline_that_never_trained_has_no_cool_down():
    assert decide(YES, cool_down_days=2).retrain


@pytest.mark.parametrize(
    ("rules", "needed", "asked"),
    [
        ((Probe(), YES), 1, 0),  # any: the other speaks
        ((Probe(), NO), 1, 1),
        ((Probe(), NO), 2, 0),  # all: the other is silent
        ((Probe(), YES), 2, 1),
        ((Probe(), YES, NO), 2, 1),
        ((Probe(), NO, NO), 2, 0),  # a vote that is lost already
    ],
)
def test_a_probe_is_asked_only_where_its_answer_can_change_the_decision(rules, needed, asked):
    prober = Prober(True)
    found = decide(*rules, needed=needed, prober=prober)
    assert prober.asked == asked
    assert found.retrain == (asked == 1 or needed == 1)
    assert found.opinions[0].spoke is (True if asked else None)
    assert found.opinions[0].seconds == (2.0 if asked else 0.0)


def test_a_probe_that_was_not_asked_gives_no_reason():
    found = decide(Probe(), NO, needed=2)
    assert found.reasons == ["0 of the 2 rules needed spoke", NEVER]
    assert found.opinions[0].words == "not asked: the other rules had decided"


kinds = st.sampled_from(["yes", "no", "probe yes", "probe no"])


@given(st.lists(kinds, min_size=1, max_size=6), st.integers(1, 6))
def test_sparing_probes_never_changes_the_decision(drawn, needed):
    needed = min(needed, len(drawn))
    answers = [kind.endswith("yes") for kind in drawn if kind.startswith("probe")]
    rules = [YES if kind == "yes" else NO if kind == "no" else Probe() for kind in drawn]
    found = decide(*rules, needed=needed, prober=Prober(*answers))
    votes = sum(kind.endswith("yes") for kind in drawn)
    assert found.retrain == (votes >= needed)
    assert len(found.opinions) == len(drawn)
    assert found.reasons
