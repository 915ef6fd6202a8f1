"""What a contest looks at beside the gain: the archive, the cost to serve, and who is asked first."""

import time
from dataclasses import replace
from itertools import count

import pyarrow.compute as pc
import pytest
from portal import DAYS
from shadows import Known, barred, contend, judge, know

from tasks.evaluation.limits import (
    FairnessLimits,
    ForgettingLimits,
    Guardrails,
    LatencyLimits,
    SizeLimits,
)
from tasks.evidence import evidence_of

NONE = Guardrails(slices=None, calibration=None, latency=None, size=None)


def rule(document, name):
    [found] = [each for each in document["rules"] if each["rule"] == name]
    return found


def test_the_archive_is_judged_once_and_is_no_part_of_the_contest(contested, days, monkeypatch):
    know(monkeypatch, {"1": 0.9, "2": 0.9})
    limits = ForgettingLimits(days_ago=1, impressions=60, min_impressions=20, margin=0.2)
    workspace = barred(contested, guardrails=replace(NONE, forgetting=limits), min_impressions=900)
    _, held, _ = contend(workspace, days[1], "f2")

    forgetting = rule(held.contest, "forgetting")
    assert forgetting["decision"] == "pass"
    evidence = evidence_of(workspace, "2", "1", days=(DAYS[1], DAYS[-1]))
    archive = evidence.filter(pc.equal(evidence["day"], DAYS[0]))
    assert archive.num_rows == 60
    assert forgetting["impressions"] <= 60 < held.contest["impressions"]
    assert held.contest["impressions"] <= evidence.num_rows - 60

    [judged] = judge(workspace, days[2]).shadows
    again = evidence_of(workspace, "2", "1", days=(DAYS[1], DAYS[-1]))
    assert again.filter(pc.equal(again["day"], DAYS[0])).num_rows == 60
    assert rule(judged.contest, "forgetting") == forgetting


def test_where_nothing_is_old_enough_forgetting_does_not_decide(contested, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": 0.9})
    limits = replace(NONE, forgetting=ForgettingLimits(days_ago=28))
    _, held, verdict = contend(barred(contested, guardrails=limits), days[0], "f2")
    assert not rule(held.contest, "forgetting")["decides"]
    assert verdict.decision == "promote"


def test_a_version_that_is_too_large_is_rejected_and_the_sentence_names_the_rule(
    contested, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": 0.9})
    limits = replace(NONE, size=SizeLimits(mebibytes=1e-6))
    workspace = barred(contested, guardrails=limits)
    _, held, verdict = contend(workspace, days[0], "f2")
    assert held.decision == "reject"
    assert "but the guardrail size: 0.0 MiB, above the limit of 1e-06 MiB" in verdict.reason
    assert workspace.registry.version("2").tags["reason"] == verdict.reason
    assert verdict.shadow is None, "more days cannot mend it"


@pytest.mark.parametrize(("slow_calls", "decision"), [(10_000, "breach"), (4, "pass")])
def test_a_version_that_is_always_slow_is_rejected_and_one_that_a_busy_machine_hit_is_not(
    contested, days, monkeypatch, slow_calls, decision
):
    know(monkeypatch, {"1": 0.0, "2": 0.9})
    monkeypatch.setattr("tasks.weighing.PATIENCE_SECONDS", 1.5)
    answer, calls = Known.probabilities, count()

    def slowly(self, rows, context):
        time.sleep(0.1 if self.seed == 2 and next(calls) < slow_calls else 0)
        return answer(self, rows, context)

    monkeypatch.setattr(Known, "probabilities", slowly)
    limits = replace(NONE, latency=LatencyLimits(times=3.0))
    _, held, _ = contend(barred(contested, guardrails=limits), days[0], "f2")
    assert rule(held.contest, "latency")["decision"] == decision


@pytest.mark.parametrize("strength", [0.9, -0.5])
def test_slices_are_held_over_all_days(contested, days, monkeypatch, strength):
    know(monkeypatch, {"1": 0.3, "2": strength})
    workspace = barred(contested, guardrails=Guardrails(calibration=None, latency=None))
    _, held, _ = contend(workspace, days[0], "f2")
    found = rule(held.contest, "slice warm items")
    assert (found["value"] > 0) == (strength > 0.3)
    assert "slices" not in held.contest, "the rules show them"


def test_groups_are_told_apart_by_what_the_log_says_of_a_row(contested, days, monkeypatch):
    know(monkeypatch, {"1": 0.3, "2": 0.9})
    groups = FairnessLimits(groups=("surface", "age"), min_impressions=5)
    workspace = barred(contested, guardrails=replace(NONE, fairness=groups))
    _, held, _ = contend(workspace, days[1], "f2")
    rules = [each["rule"] for each in held.contest["rules"]]
    assert rules[:2] == ["fairness of AUC by surface", "fairness of exposure by surface"]
    kinds = {group["group"] for row in said(workspace, "2") for group in row}
    assert {"age cold", "age warm"} <= kinds
    assert any(kind.startswith("surface ") for kind in kinds)


def said(workspace, version):
    return evidence_of(workspace, version, "1", days=(DAYS[0], DAYS[-1]))["exposure"].to_pylist()


def test_a_day_that_is_judged_again_does_not_see_what_later_days_said(contested, days, monkeypatch):
    know(monkeypatch, {"1": 0.4, "2": 0.5})
    workspace = barred(contested, guardrails=NONE, min_impressions=10_000)
    contend(workspace, days[0], "f2")
    [first] = judge(workspace, days[1]).shadows
    [later] = judge(workspace, days[2]).shadows
    [again] = judge(workspace, days[1]).shadows
    assert later.contest["impressions"] > first.contest["impressions"]
    assert again.contest == first.contest
