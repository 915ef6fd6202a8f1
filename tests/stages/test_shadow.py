"""Challengers in shadow on a real lake, registry and journal: who stays, who goes live, and what is said."""

from dataclasses import replace

import pyarrow.compute as pc
import pytest
from portal import DAYS
from shadows import barred, contend, judge, know, scored
from versions import register

from tasks.context import day_rows
from tasks.evidence import TABLE, evidence_of, forget_evidence
from tasks.in_shadow import in_shadow
from tasks.live import reconcile
from tasks.prune import _pinned
from tasks.references import Published
from tasks.registry.journal import Journal
from tasks.registry.registry import Registry
from tasks.review import force, review_of, roll_back
from tasks.status import status_of
from tasks.workspace import Workspace

STRONG, GOOD, WEAK, BAD = 0.9, 0.45, 0.02, -1.0


def again(published: Published, attempt: int = 1) -> Published:
    return published.model_copy(update={"attempt": attempt})


@pytest.fixture
def workspace(contested) -> Workspace:
    return contested


def live(workspace: Workspace) -> str | None:
    return workspace.registry.standing()[0]


def test_a_challenger_without_enough_evidence_stays_and_one_sentence_says_why(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": WEAK})
    _, held, verdict = contend(workspace, days[0], "f2")

    assert held.decision == verdict.decision == "not enough evidence"
    assert verdict.reason == f"{held.reason}; in shadow until {DAYS[2]}"
    assert "could only have shown a gain of" in verdict.reason
    [entry] = workspace.journal.entries(event="shadowed")
    assert (entry.model_version, entry.reason) == ("2", verdict.reason)
    tags = workspace.registry.version("2").tags
    assert (tags["verdict"], tags["reason"]) == ("not enough evidence", verdict.reason)
    [told] = status_of(workspace, entry.recorded_at)["shadows"]
    assert (told["version"], told["reason"]) == ("2", verdict.reason)
    assert told["low"] < told["gain"] < told["high"]
    assert live(workspace) == "1"


def test_the_next_day_is_judged_with_all_evidence_so_far(workspace, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": WEAK})
    _, held, _ = contend(workspace, days[0], "f2")
    [judged] = judge(workspace, days[1]).shadows

    assert judged.stays
    whole = day_rows(workspace, days[1])
    evidence = evidence_of(workspace, "2", "1", days=(DAYS[0], DAYS[-1]))
    of_second = evidence.filter(pc.equal(evidence["day"], DAYS[1]))
    assert of_second.num_rows == len(whole["impression_id"].unique())
    gains = pc.subtract(evidence["challenger_auc"], evidence["champion_auc"]).drop_null()
    assert judged.contest["gain"] == pytest.approx(pc.mean(gains).as_py())
    assert judged.contest["impressions"] == len(gains) > held.contest["impressions"] + 200
    assert judged.contest["looks"] == 2


def test_a_challenger_goes_live_from_shadow_when_its_evidence_suffices(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": GOOD})
    few = barred(workspace, min_impressions=200)
    _, _, verdict = contend(few, days[0], "f2")
    assert "fewer than the min_impressions of 200; in shadow until" in verdict.reason

    shadows = judge(few, days[1])

    assert live(workspace) == "2"
    [entry] = workspace.journal.entries(DAYS[1], "promoted")
    assert entry.model_version == "2"
    assert entry.effective_at == workspace.registry.version("2").live_since
    assert entry.reason == workspace.registry.version("2").tags["reason"]
    assert shadows.promoted.shadow.version == "2"
    assert in_shadow(workspace) == {}
    serving = shadows.serving(scored(workspace, champion="v1", version="1"))
    assert serving.version == "2"
    assert serving.champion_metrics["impression_auc"] > 0.55
    assert reconcile(workspace) is None


def test_a_challenger_that_is_shown_to_be_worse_leaves_before_its_time(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": STRONG, "2": BAD})
    few = barred(workspace, min_impressions=200)
    contend(few, days[0], "f2")
    [judged] = judge(few, days[1]).shadows
    assert (judged.decision, judged.stays) == ("reject", False)
    [entry] = workspace.journal.entries(DAYS[1], "kept")
    assert (entry.model_version, entry.reason) == ("2", judged.reason)
    assert workspace.registry.version("2").tags["verdict"] == "reject"
    assert in_shadow(workspace) == {}


def test_a_challenger_is_dropped_after_its_days(workspace, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": 0.0})
    contend(workspace, days[0], "f2")
    judge(workspace, days[1])
    assert list(in_shadow(workspace)) == ["2"]
    [judged] = judge(workspace, days[2]).shadows
    assert judged.reason.endswith("; dropped after 2 days in shadow")
    assert workspace.journal.entries(DAYS[2], "kept")[0].reason == judged.reason
    assert in_shadow(workspace) == {}
    assert judge(workspace, again(days[2])).shadows == []


def test_evidence_against_another_champion_is_void(workspace, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": WEAK, "3": 0.0})
    contend(workspace, days[0], "f2")
    force(workspace, register(workspace, "f3"), review_of("ana", "because"))
    [judged] = judge(workspace, days[1]).shadows
    assert not judged.stays
    assert judged.reason == (
        "it was compared with v1, but v3 is live now: its evidence is void, and it leaves the shadow"
    )


def test_a_challenger_that_is_forced_live_is_in_shadow_no_more(workspace, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": WEAK})
    contend(workspace, days[0], "f2")
    force(workspace, "2", review_of("ana", "because"))
    assert in_shadow(workspace) == {}
    assert judge(workspace, days[1]).shadows == []
    assert workspace.registry.version("2").live_since is not None


def test_of_two_that_have_shown_enough_the_surer_one_goes_live_and_the_other_leaves(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": GOOD, "3": STRONG})
    few = barred(workspace, min_impressions=200)
    contend(few, days[0], "f2")
    contend(few, again(days[0]), "f3")
    second, third = judge(few, days[1]).shadows

    assert live(workspace) == "3"
    assert third.live_since is not None
    assert third.contest["low"] > second.contest["low"] > 0
    assert second.reason.startswith("it was compared with v1, but v3 is live now")
    assert [e.model_version for e in workspace.journal.entries(event="promoted")] == ["1", "3"]
    assert in_shadow(workspace) == {}


def test_one_model_a_day_goes_live_and_the_days_own_winner_waits_in_shadow(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": GOOD, "3": 3.0})
    few = barred(workspace, min_impressions=200)
    contend(few, days[0], "f2")
    shadows = judge(few, days[1])
    _, held, verdict = contend(workspace, days[1], "f3", shadows)

    assert held.compared_with == "2", "what is trained after the promotion is held against it"
    assert held.decision == "promote"
    assert verdict.decision == "not enough evidence"
    assert "; but v2 went live today, and one model a day does; in shadow until" in verdict.reason
    assert live(workspace) == "2"
    assert judge(workspace, days[2]).promoted.shadow.version == "3"


def test_where_all_places_are_taken_the_one_leaves_that_could_gain_least(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": 0.0, "3": 0.3, "4": 0.0})
    one = barred(workspace, shadows=1, min_impressions=200)
    contend(one, days[0], "f2")
    _, _, verdict = contend(one, again(days[0]), "f3")
    assert verdict.shadow is not None
    assert list(in_shadow(workspace)) == ["3"]
    left = workspace.journal.entries(event="kept")[-1]
    assert left.model_version == "2"
    assert "leaves its place in shadow to v3, which could gain +" in left.reason
    assert workspace.registry.version("2").tags["reason"] == left.reason

    _, _, verdict = contend(one, again(days[0], 2), "f4")
    assert verdict.shadow is None
    assert verdict.reason.endswith("; no place in shadow: v3 could gain more")
    assert list(in_shadow(workspace)) == ["3"]


def test_without_shadow_days_a_challenger_is_judged_once(workspace, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": GOOD})
    once = barred(workspace, shadow_days=0, min_impressions=200)
    _, held, verdict = contend(once, days[0], "f2")
    assert verdict.reason == held.reason
    assert [e.event for e in workspace.journal.entries(DAYS[0])][-1] == "kept"
    assert in_shadow(workspace) == {}


def test_a_day_that_is_run_again_replaces_its_evidence_and_its_own_challenger(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": WEAK, "3": 0.0})
    contend(workspace, days[0], "f2")
    [first] = judge(workspace, days[1]).shadows
    contend(workspace, days[1], "f3")
    second, third = judge(workspace, again(days[1])).shadows

    assert second.contest["impressions"] == first.contest["impressions"], "not doubled"
    assert second.contest["gain"] == first.contest["gain"]
    assert not third.stays
    assert third.reason == f"{DAYS[1]} is run again, and what is made of it now takes its place"


def test_a_run_that_was_killed_after_its_verdict_does_not_drop_its_own_challenger(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": WEAK})
    _, _, verdict = contend(workspace, days[0], "f2")
    assert judge(workspace, days[0]).shadows == []
    assert in_shadow(workspace)["2"].reason == verdict.reason


def test_nobody_is_judged_on_a_day_that_it_or_the_champion_has_learned_from(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": WEAK})
    contend(workspace, days[1], "f2")
    assert judge(workspace, days[0]).shadows == []
    assert judge(workspace, days[2], version=None).shadows == []
    assert judge(workspace, again(days[2]), overtaken_by="v9").shadows == []
    assert list(in_shadow(workspace)) == ["2"]


def test_where_a_person_approves_a_winner_from_shadow_waits(workspace, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": GOOD})
    manual = barred(workspace, min_impressions=200, approval="manual")
    contend(manual, days[0], "f2")
    [judged] = judge(manual, days[1]).shadows
    assert judged.verdict.decision == "waiting for approval"
    assert workspace.journal.entries(DAYS[1], "waiting")[0].model_version == "2"
    assert workspace.registry.version("2").tags["review"] == "waiting"
    assert live(workspace) == "1"
    assert in_shadow(workspace) == {}


def test_a_winner_that_a_person_took_out_meanwhile_is_not_put_back(workspace, days, monkeypatch):
    know(monkeypatch, {"1": 0.0, "2": GOOD})
    few = barred(workspace, min_impressions=200)
    contend(few, days[0], "f2")
    with pytest.raises(Killed):
        kill_before(monkeypatch, "promoted")
        judge(few, days[1])
    monkeypatch.undo()
    know(monkeypatch, {"1": 0.0, "2": GOOD})
    assert live(workspace) == "2"
    roll_back(workspace, None, review_of("ana", "clicks fell"))

    [judged] = judge(few, days[1], version="1", champion="v1").shadows

    assert judged.reason == "Version 2 was rolled back by ana: clicks fell"
    assert live(workspace) == "1"


def test_what_is_in_shadow_is_neither_pruned_nor_are_its_days_forgotten(
    workspace, days, monkeypatch
):
    know(monkeypatch, {"1": 0.0, "2": WEAK, "3": 0.0})
    contend(workspace, days[0], "f2")
    contend(barred(workspace, shadow_days=0), again(days[0]), "f3")
    assert _pinned(workspace)["2"] == f"in shadow until {DAYS[2]}"
    assert evidence_of(workspace, "3", "1", days=(DAYS[0], DAYS[-1])).num_rows

    forget_evidence(workspace, DAYS[2], set(in_shadow(workspace)))

    assert set(workspace.lake.read(TABLE)["challenger"].to_pylist()) == {"2"}
    forget_evidence(workspace, DAYS[2], set())
    assert workspace.lake.read(TABLE).num_rows == 0


class Killed(BaseException):
    """The process is gone."""


def kill_before(monkeypatch: pytest.MonkeyPatch, event: str) -> None:
    """Die when an entry of that event is about to be recorded: all before it is done."""
    once = Journal.once

    def dying(self, key, named, compute):
        if self.find(key) is None and named == event:
            compute()
            raise Killed
        return once(self, key, named, compute)

    monkeypatch.setattr(Journal, "once", dying)


def kill_at_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Die right after the registry has promoted."""
    promote = Registry.promote

    def dying(self, *args, **kwargs):
        promote(self, *args, **kwargs)
        raise Killed

    monkeypatch.setattr(Registry, "promote", dying)


def kill_after_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Die between the evidence and the verdict on it."""

    def dying(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("tasks.weighing._facts", dying)


@pytest.mark.parametrize(
    "kill",
    [
        kill_after_evidence,
        lambda m: kill_before(m, "shadows"),
        kill_at_alias,
        lambda m: kill_before(m, "promoted"),
        lambda m: kill_before(m, "kept"),
    ],
    ids=["evidence kept", "all judged", "alias moved", "promotion unrecorded", "other unrecorded"],
)
def test_a_day_killed_anywhere_promotes_the_same_one_once(workspace, days, monkeypatch, kill):
    strengths = {"1": 0.0, "2": GOOD, "3": STRONG}
    know(monkeypatch, strengths)
    few = barred(workspace, min_impressions=200)
    contend(few, days[0], "f2")
    contend(few, again(days[0]), "f3")
    with monkeypatch.context() as dying:
        kill(dying)
        with pytest.raises(Killed):
            judge(few, days[1])
    later = replace(few)
    assert reconcile(later, continued=DAYS[1]) is None, "the day records its own promotion"
    second, third = judge(later, days[1], version="1", champion="v1").shadows

    assert third.live_since is not None and not second.stays
    assert live(workspace) == "3"
    told = [(e.event, e.model_version) for e in later.journal.entries(DAYS[1])]
    assert told[1:] == [("shadows", "3"), ("promoted", "3"), ("kept", "2")]
    evidence = evidence_of(later, "3", "1", days=(DAYS[1], DAYS[-1]))
    assert len(evidence) == len(evidence["impression_id"].unique())
    assert reconcile(later) is None
    assert judge(later, days[1], version="1", champion="v1").promoted == third
