"""The trigger stage on a real journal, registry and lake: what it asks, counts and remembers."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from portal import DAYS, write_config
from published import publish_days
from versions import crown

from tasks.decide_retrain import decide_retrain
from tasks.recommender.hybrid import zero_shot
from tasks.recommender.store import save_ranker
from tasks.references import ChampionRecord, DriftFound, Published, Trigger
from tasks.registry.journal import Outcome
from tasks.trigger.opinions import Opinion
from tasks.workspace import Workspace, open_workspace

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = DAYS[1]
METRICS = {"impression_auc": 0.7, "impressions": 400}
MOVED = {"column": "category", "drifted": True, "words": "sports: 31 %, was 12 %"}
CALM = {"column": "hour", "drifted": False, "words": ""}


@pytest.fixture
def workspace_with(tmp_path: Path, warm_home: Path, portal_logs: Path):
    """A workspace by its `retrain`, whose version 1 learned through noon of the first day."""

    def make(**retrain: Any) -> Workspace:
        config = write_config(
            tmp_path, portal_logs, home=warm_home, retrain={"any": None, **retrain}
        )
        workspace = open_workspace(config, "portal")
        save_ranker(zero_shot("all-MiniLM-L6-v2"), tmp_path / "ranker")
        workspace.registry.register(
            tmp_path / "ranker",
            fingerprint="one",
            loader_module="tasks.recommender.pyfunc",
            tags={"trained_from": NOON.isoformat(), "trained_through": NOON.isoformat()},
            params={},
            metrics={},
        )
        crown(workspace, "1", over=None)
        return workspace

    return make


def of_day(day: date, **tables: int) -> Published:
    counts = dict.fromkeys(
        ("revision", "attempt", "rows_read", "published", "quarantined", "duplicates", "late"), 1
    )
    states = {"interactions": 1, "items": 1, "item_hours": 1, **tables}
    return Published(day=day, quarantine_reasons={}, **counts, **states)


def record(auc: float = 0.7, error: float | None = 0.004) -> ChampionRecord:
    metrics = {**METRICS, "impression_auc": auc}
    return ChampionRecord(
        champion="v1",
        version="1",
        champion_metrics=metrics,
        zero_shot_metrics=metrics,
        overtaken_by=None,
        champion_error=error,
    )


def drift(*columns: dict[str, Any]) -> DriftFound:
    report = {"drifted": bool(columns), "reference": "before", "columns": list(columns)}
    return DriftFound(report=report)


def decide(
    workspace: Workspace,
    found: DriftFound | None = None,
    champion: ChampionRecord | None = None,
    published: Published | None = None,
) -> Trigger:
    return decide_retrain.fn(
        workspace, published or of_day(DAY), champion or record(), found or DriftFound(report=None)
    )


def remember(workspace: Workspace, day: date, step: str, evidence: dict[str, Any]) -> None:
    outcome = Outcome("", day=day, model_version=evidence.get("version"), evidence=evidence)
    workspace.journal.once(of_day(day).key(step), step, lambda: outcome)


def close(workspace: Workspace, day: date, **record: Any) -> None:
    told = {"day": str(day), "champion_auc": 0.7, "zero_shot_auc": 0.6, **record}
    remember(workspace, day, "closed", {"record": told})


def test_the_amount_counts_the_rows_later_than_the_champions_newest(workspace_with):
    workspace = workspace_with(any=[{"rule": "amount", "min_rows": 5_000}])
    _, published = publish_days(workspace, DAYS[:2])
    times = workspace.lake.read("interactions", columns=["event_time"], days=(DAYS[0], DAY))
    later = sum(time > NOON for time in times["event_time"].to_pylist())
    found = decide(workspace, published=published)
    assert 5_000 < later < times.num_rows
    assert found.retrain
    assert found.reasons == [f"{later:,} rows since champion v1 was trained, amount 5,000"]


def test_drift_of_earlier_days_is_read_from_the_journal(workspace_with):
    rule = {"rule": "drift", "days": 2, "window_days": 2}
    workspace = workspace_with(any=[rule])
    alone = decide(workspace, drift(MOVED, CALM))
    assert not alone.retrain
    assert "drift on 1 of the last 2 days, 2 needed" in alone.reasons[0]

    remember(workspace, DAYS[0], "profiled", drift(MOVED).model_dump())
    close(workspace, DAYS[0])
    again = of_day(DAY).model_copy(update={"attempt": 2})
    both = decide(workspace, drift(MOVED, CALM), published=again)
    assert both.retrain
    assert both.reasons[0].startswith("drift on 2 of the last 2 days: category drifted (sports")


def test_a_fall_is_measured_against_the_records_of_complete_days_with_their_errors(workspace_with):
    workspace = workspace_with(any=[{"rule": "performance", "max_drop": 0.02}])
    for back in range(1, 5):
        close(workspace, DAY - timedelta(days=back), champion_auc=0.7, champion_error=0.004)
    found = decide(workspace, champion=record(auc=0.66))
    assert found.retrain
    # 0.04 − t₃(0.95) · 0.004 · √(5/4) = 0.04 − 2.353 · 0.00447 = 0.029
    assert "fell by 0.040 (at least 0.029)" in found.reasons[0]
    again = of_day(DAY).model_copy(update={"attempt": 2})
    unsure = decide(workspace, champion=record(auc=0.66, error=0.02), published=again)
    assert not unsure.retrain


def test_days_that_an_older_version_closed_have_no_errors_and_still_count(workspace_with):
    workspace = workspace_with(any=[{"rule": "performance", "max_drop": 0.02}])
    for back in range(1, 5):
        close(workspace, DAY - timedelta(days=back), champion_auc=0.7 + 0.001 * back)
    assert decide(workspace, champion=record(auc=0.66, error=None)).retrain


def test_the_cool_down_counts_from_the_last_day_that_trained_before_this_one(workspace_with):
    workspace = workspace_with(any=[{"rule": "always"}], cool_down_days=1)
    trained = {"version": "1", "train_seconds": 1.0}
    remember(workspace, DAYS[0], "trained", trained)
    remember(workspace, DAY + timedelta(days=3), "trained", {**trained, "version": "2"})
    found = decide(workspace)
    assert not found.retrain
    assert found.opinions == []
    assert "a challenger was trained 1 day ago, and none follows within 1 day" in found.reasons[0]
    assert decide(workspace, published=of_day(DAYS[2])).retrain


def test_a_repeat_of_a_day_that_trained_is_no_cool_down_for_itself(workspace_with):
    workspace = workspace_with(any=[{"rule": "always"}], cool_down_days=1)
    remember(workspace, DAY, "trained", {"version": "1", "train_seconds": 1.0})
    assert decide(workspace, published=of_day(DAY).model_copy(update={"attempt": 2})).retrain


def test_a_probe_is_asked_once_and_its_answer_remembered(workspace_with, monkeypatch):
    workspace = workspace_with(all=[{"rule": "always"}, {"rule": "probe"}])
    asked = []

    def answer(workspace: Workspace, published: Published, version: str, rule: Any) -> Opinion:
        asked.append((published.day, version, rule.shots))
        return Opinion("probe 256", True, "a probe gains +0.01", 2.0)

    monkeypatch.setattr("tasks.probe.run_probe", answer)
    first = decide(workspace)
    assert decide(workspace) == first
    assert asked == [(DAY, "1", 256)]
    assert first.retrain
    assert first.reasons == ["every day", "a probe gains +0.01"]
    entry = workspace.journal.find(of_day(DAY).key("triggered"))
    assert entry is not None
    probe = {"rule": "probe 256", "spoke": True, "words": first.reasons[1], "seconds": 2.0}
    assert entry.evidence["opinions"][1] == probe


def test_an_entry_from_before_there_were_opinions_is_still_read(workspace_with):
    workspace = workspace_with(any=[{"rule": "always"}])
    old = {"retrain": False, "reasons": ["no drift"], "seconds": 0.1}
    remember(workspace, DAY, "triggered", old)
    found = decide(workspace)
    assert (found.retrain, found.reasons, found.opinions) == (False, ["no drift"], [])
