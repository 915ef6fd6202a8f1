import json
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.evidence import EVIDENCE, collect
from tasks.evaluation.gate import Verdict
from tasks.evaluation.guardrails import ModelFacts, check, combine, level_of
from tasks.evaluation.impressions import read
from tasks.evaluation.limits import (
    CalibrationLimits,
    ForgettingLimits,
    Guardrails,
    LatencyLimits,
    SizeLimits,
    SliceLimits,
)
from tasks.evaluation.noninferiority import Bounds
from tasks.evaluation.ruling import RuleVerdict, rule_on
from tests.unit.evaluation.test_evidence import DAY, make_table

FACTS = ModelFacts(champion_ms=10, challenger_ms=12, challenger_bytes=2 * 2**20)
NONE = Guardrails(slices=None, calibration=None, latency=None, size=None)
SLICES = replace(NONE, slices=SliceLimits())
CALIBRATION = replace(NONE, calibration=CalibrationLimits())
WINS = Verdict("promote", "gain +0.0200 clears zero")


def make_evidence(
    num=400,
    gain=0.0,
    *,
    slices=(),
    seed=0,
    day=0,
    users=200,
    lost=0.0,
    loss=(0.3, 0.3),
    expected=(1.0, 1.0),
):
    """One day's EVIDENCE of `num` judged slates; those of `slices[0]`, a tenth, lose `lost` besides."""
    rng = np.random.default_rng([seed, day])
    hit = rng.random(num) < 0.1
    old = rng.uniform(0.2, 0.8, num)
    new = old + rng.normal(gain, 0.15, num) - lost * hit
    clicks = rng.poisson(1, num) + 1
    names = [[*slices[:1]] * int(at) + [*slices[1:]] for at in hit]
    columns = {
        "day": [DAY + timedelta(days=day)] * num,
        "impression_id": [f"{day}-{n}" for n in range(num)],
        "user_id": [f"u{u}" for u in rng.integers(0, users, num)],
        "champion_auc": old,
        "challenger_auc": new,
        "champion_loss": np.full(num, loss[0]) + rng.normal(0, 0.02, num),
        "challenger_loss": np.full(num, loss[1]) + rng.normal(0, 0.02, num),
        "champion_expected": expected[0] * clicks + rng.normal(0, 0.1, num),
        "challenger_expected": expected[1] * clicks + rng.normal(0, 0.1, num),
        "clicks": clicks.astype(np.int32),
        "candidates": np.full(num, 10, np.int32),
        "items": [None] * num,
        "slices": names,
        "exposure": [[]] * num,
    }
    return pa.table(columns, schema=EVIDENCE)


def ask(evidence, rules, archive=None, facts=FACTS, looks=1):
    return {each.rule: each for each in check(evidence, archive, facts, rules, looks=looks)}


def test_each_rule_speaks_for_itself_and_a_rule_without_limits_is_not_asked():
    evidence = make_evidence(slices=("tail", "head"))
    everything = Guardrails(forgetting=ForgettingLimits())
    assert list(ask(evidence, everything, archive=evidence)) == [
        "slice head",
        "slice tail",
        "forgetting",
        "calibration of log loss",
        "calibration of expected clicks",
        "latency",
        "size",
    ]
    assert ask(evidence, NONE) == {}


def test_a_loss_in_one_slice_is_a_breach_there_whatever_the_others_gain():
    evidence = make_evidence(4000, gain=0.02, lost=0.12, slices=("tail", "head"))
    found = ask(evidence, SLICES)
    assert found["slice head"].decision == "pass"
    tail = found["slice tail"]
    assert tail.decision == "breach"
    assert tail.high < -0.03 == tail.limit
    verdict = combine(WINS, list(found.values()))
    assert verdict.decision == "reject"
    assert verdict.reason.startswith(
        "gain +0.0200 clears zero, but the guardrail slice tail: gain -0.0"
    )
    assert verdict.reason.endswith("breaks the limit of -0.0300")


def test_a_slice_with_too_little_to_show_keeps_a_winner_waiting():
    found = ask(make_evidence(300, slices=("tail",)), SLICES)["slice tail"]
    assert found.decision == "not enough evidence"
    assert found.low < -0.03 < found.high
    assert "is not shown to keep the limit of -0.0300 by" in found.reason
    assert f"{found.impressions} impressions of {found.users} users" in found.reason
    verdict = combine(WINS, [found])
    assert verdict.decision == "not enough evidence"
    assert verdict.reason == f"{WINS.reason}, but the guardrail {found.sentence}"


def test_a_slice_below_its_share_of_traffic_is_shown_and_does_not_decide():
    evidence = make_evidence(3000, lost=0.5, slices=("tail", "head"))
    rules = replace(NONE, slices=SliceLimits(min_share=0.2))
    found = ask(evidence, rules)["slice tail"]
    assert found.decision == "breach" and not found.decides
    assert found.reason.endswith("% of the impressions: shown, not decided by)")
    assert combine(WINS, [found]) == WINS


@pytest.mark.parametrize(
    ("num", "users", "words"),
    [
        (100, 50, "judged impressions are fewer than the min_impressions of 20"),
        (400, 1, "judged impressions are all one user's"),
    ],
)
def test_a_slice_that_is_too_small_has_no_verdict(num, users, words):
    found = ask(make_evidence(num, users=users, slices=("tail",)), SLICES)["slice tail"]
    assert (found.decision, found.value) == ("not enough evidence", None)
    assert found.reason.endswith(words)


def test_items_that_many_slates_show_are_a_source_of_error_of_their_own():
    # the challenger misjudges whole items: the more slates show the same few, the less is known
    lows = []
    for items in (4000, 12):
        evidence = make_evidence(2000, slices=("tail", "head"), users=1000)
        rng = np.random.default_rng(5)
        shown = rng.integers(0, items, 2000)
        luck = rng.normal(0, 0.1, items)[shown]
        gain = luck + rng.normal(0, 0.05, 2000)
        told = [
            [{"item_id": f"n{item}", "gain": g, "weight": 1.0}]
            for item, g in zip(shown, gain, strict=True)
        ]
        for name, column in (
            ("challenger_auc", pa.array(evidence["champion_auc"].to_numpy() + gain)),
            ("items", pa.array(told, EVIDENCE.field("items").type)),
        ):
            place = evidence.column_names.index(name)
            evidence = evidence.set_column(place, EVIDENCE.field(name), column)
        found = ask(evidence, SLICES)["slice head"]
        lows.append(found.value - found.low)
    # 1.28 · 0.11 / √2000, and 1.36 · 0.1 / √12 for eleven degrees of freedom
    assert lows[0] == pytest.approx(0.0032, rel=0.2)
    assert lows[1] == pytest.approx(0.039, rel=0.4)


def test_slates_that_rank_nothing_do_not_count():
    evidence = make_evidence(500, slices=("tail", "head"))
    null = pa.array([None if n % 2 else value for n, value in enumerate(evidence[3].to_pylist())])
    half = evidence.set_column(3, EVIDENCE.field("champion_auc"), null)
    assert ask(half, SLICES)["slice head"].impressions == 250


def test_a_slice_that_loses_its_margin_is_not_passed_because_it_is_asked_daily():
    passed = 0
    for seed in range(80):
        days, over = [], False
        for day in range(4):
            days.append(make_evidence(500, slices=("tail",), lost=0.03, seed=seed, day=day))
            found = ask(pa.concat_tables(days), SLICES, looks=4)["slice tail"]
            over = over or found.decision == "pass"
        passed += over
    # 0.1 is the promise of confidence 0.9; asked at that level each day it would be about 0.2
    assert passed / 80 <= 0.1 + 0.06


def test_each_look_is_stricter_than_the_only_one():
    evidence = pa.concat_tables([make_evidence(day=day) for day in range(3)])
    seen = read(evidence)
    assert level_of(read(make_evidence()), 0.9, 1) == pytest.approx(0.1)
    assert 0.1 / 8 < level_of(seen, 0.9, 8) < 0.1 / 2
    # more days than were announced are looks too
    assert level_of(seen, 0.9, 1) == level_of(seen, 0.9, 3)


def test_what_was_known_long_ago_may_not_be_lost():
    rules = replace(NONE, forgetting=ForgettingLimits())
    today = make_evidence(gain=0.05)
    for gain, decision in ((0.0, "pass"), (-0.08, "breach")):
        archive = make_evidence(2000, gain=gain, seed=3)
        assert ask(today, rules, archive=archive)["forgetting"].decision == decision
    nothing = ask(today, rules)["forgetting"]
    assert not nothing.decides
    assert nothing.reason == "there are no impressions of 28 days ago or earlier"


@pytest.mark.parametrize(
    ("loss", "expected", "log_loss", "clicks"),
    [
        ((0.3, 0.3), (1.0, 1.0), "pass", "pass"),
        ((0.3, 0.33), (1.0, 1.0), "breach", "pass"),
        ((0.3, 0.28), (1.0, 1.4), "pass", "breach"),
        ((0.3, 0.28), (1.0, 0.6), "pass", "breach"),
        # as far below as the champion is above, and a better one
        ((0.3, 0.3), (1.4, 0.62), "pass", "pass"),
        ((0.3, 0.3), (1.4, 1.0), "pass", "pass"),
    ],
)
def test_scores_must_stay_probabilities(loss, expected, log_loss, clicks):
    found = ask(make_evidence(1500, loss=loss, expected=expected), CALIBRATION)
    assert found["calibration of log loss"].decision == log_loss
    assert found["calibration of expected clicks"].decision == clicks


def test_calibration_is_that_of_the_scores():
    champion, challenger, rows = make_table(300)
    evidence = collect(champion, challenger, rows, {}, {}, DAY)
    clicks = rows["label"].to_numpy().sum()
    found = ask(evidence, CALIBRATION)["calibration of expected clicks"]
    ratios = challenger.sum() / clicks, champion.sum() / clicks
    assert found.value == pytest.approx(abs(ratios[0] - 1) - abs(ratios[1] - 1))
    assert f"clicks {ratios[0]:.3f}, champion {ratios[1]:.3f}" in found.reason


def test_without_a_click_calibration_has_no_verdict():
    evidence = make_evidence(50)
    none = evidence.set_column(9, EVIDENCE.field("clicks"), pa.array([0] * 50, pa.int32()))
    assert {each.decision for each in ask(none, CALIBRATION).values()} == {"not enough evidence"}


@pytest.mark.parametrize(
    ("times", "mebibytes", "latency", "size"),
    [(1.2, 2, "pass", "pass"), (1.21, 2.1, "breach", "breach")],
)
def test_what_is_too_slow_or_too_large_is_refused(times, mebibytes, latency, size):
    rules = replace(NONE, latency=LatencyLimits(times=1.2), size=SizeLimits(mebibytes=2))
    facts = ModelFacts(10, 10 * times, int(mebibytes * 2**20))
    found = ask(make_evidence(10), rules, facts=facts)
    assert (found["latency"].decision, found["size"].decision) == (latency, size)
    assert found["latency"].reason.startswith(
        f"{10 * times:.1f} ms for 1,000 candidates is {times}"
    )


def ruling(decision, rule="size", decides=True):
    return RuleVerdict(rule, decision, "told", decides=decides)


def test_the_verdict_names_the_rule_that_stopped_it_and_how_many_more():
    rules = [ruling("pass"), ruling("breach", "slice tail"), ruling("breach"), ruling("breach")]
    assert combine(WINS, rules).reason == (
        f"{WINS.reason}, but the guardrail slice tail: told (and 2 more guardrails)"
    )


@given(
    st.sampled_from(["promote", "reject", "not enough evidence"]),
    st.lists(st.tuples(st.sampled_from(["pass", "breach", "not enough evidence"]), st.booleans())),
)
def test_guardrails_can_only_hold_back_and_never_promote(primary, given_rules):
    rules = [ruling(decision, decides=decides) for decision, decides in given_rules]
    found = combine(Verdict(primary, "why"), rules).decision
    deciding = {each.decision for each in rules if each.decides}
    if found == "promote":
        assert primary == "promote" and deciding <= {"pass"}
    if "breach" in deciding:
        assert found == "reject"
    if found != primary:
        assert deciding - {"pass"}


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1), st.booleans())
def test_a_rule_passes_or_breaks_by_the_end_that_could_refute_it(value, below, above, limit, more):
    found = rule_on(
        "rule",
        "figure",
        Bounds(value, value - below, value + above),
        limit,
        more_is_better=more,
        impressions=9,
        users=3,
    )
    inside = (value - below > limit) if more else (value + above < limit)
    outside = (value + above < limit) if more else (value - below > limit)
    assert (found.decision == "pass") == inside
    assert (found.decision == "breach") == outside


def test_verdicts_are_plain_json():
    evidence = make_evidence(30, slices=("tail",))
    found = check(evidence, None, FACTS, Guardrails(forgetting=ForgettingLimits()))
    told = json.loads(json.dumps([each.to_json() for each in found], allow_nan=False))
    assert [each["rule"] for each in told] == [each.rule for each in found]


def test_a_hundred_thousand_impressions_in_ten_slices_are_checked_in_a_fraction_of_a_second():
    evidence = make_evidence(100_000, users=20_000, slices=tuple(f"s{n}" for n in range(10)))
    began = time.process_time()
    found = check(evidence, None, FACTS, Guardrails(), looks=8)
    assert time.process_time() - began < 1
    assert len(found) == 14
