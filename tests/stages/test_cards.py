"""A version's card from real journal entries and a real registry, of a day that was corrected since."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portal import write_config
from versions import let_wait, register

from tasks.cards import card_of, cards
from tasks.registry.journal import Outcome
from tasks.report.card import card_lines, card_markdown
from tasks.workspace import Workspace, open_workspace

DAY = date(2026, 3, 2)
TRAINED: dict[str, Any] = {
    "train_seconds": 7.5,
    "trained_from": "2026-03-01T06:00:00Z",
    "trained_through": "2026-03-02T15:00:00Z",
    "summary": {
        "shots": 240,
        "rows": 2_600,
        "recipe": {"shots": 512, "seed": 17, "tuning.method": "ia3"},
        "warm_start": {"pipeline": "mind", "version": "7", "sha256": "ab" * 32},
        "base": {"name": "all-MiniLM-L6-v2", "sha256": "53aa" * 16},
    },
}
METRICS = {"calibration_error": 0.01, "log_loss": 0.19, "ndcg_10": 0.33, "mrr": 0.29}
CONTEST = {
    "gain": 0.012,
    "low": 0.004,
    "high": 0.02,
    "confidence": 0.9,
    "impressions": 300,
    "users": 290,
    "champion": METRICS,
    "challenger": {**METRICS, "log_loss": 0.18},
    "rules": [
        {"rule": "size", "decision": "pass", "reason": "0.3 MiB", "decides": True},
        {"rule": "slice tail items", "decision": "breach", "reason": "gain -0.05", "decides": True},
        {"rule": "slice rare", "decision": "breach", "reason": "gain -0.2", "decides": False},
    ],
    "slices": [
        {"slice": "cold items", "gain": 0.03, "low": -0.01, "high": 0.07, "impressions": 41}
    ],
}


@pytest.fixture
def workspace(tmp_path: Path, migrated: Path) -> Workspace:
    workspace = open_workspace(write_config(tmp_path, tmp_path / "logs"), "portal")
    shutil.copy(migrated, workspace.home / "mlflow.db")
    publish(workspace, date(2026, 3, 1), revision=1)
    publish(workspace, DAY, revision=1)
    version = register(workspace, "f1")
    record(workspace, "trained", TRAINED, version)
    record(workspace, "judged", {"compared_with": None, "contest": CONTEST}, version)
    let_wait(workspace, version, over=None)
    return workspace


def publish(workspace: Workspace, day: date, *, revision: int) -> None:
    tables = {"interactions": 1 + revision, "items": 2, "item_hours": 2}
    outcome = Outcome("rows", day=day, evidence={"revision": revision, **tables})
    workspace.journal.once(f"{day}/r{revision}/published/abc", "published", lambda: outcome)


def record(workspace: Workspace, step: str, evidence: dict[str, Any], version: str) -> None:
    outcome = Outcome(step, day=DAY, model_version=version, evidence=evidence)
    workspace.journal.once(f"{DAY}/r1/a0/{step}", step, lambda: outcome)


def test_a_card_says_what_the_version_learned_from_and_how_it_compared(workspace):
    [card] = cards(workspace)
    assert card["gain"]["low"] == 0.004
    assert card["metrics"]["log_loss"] == {"champion": 0.19, "challenger": 0.18}
    assert card["guardrails"] == CONTEST["rules"]
    assert card["data"] == {
        "tables": {"interactions": 2, "items": 2, "item_hours": 2},
        "days": {"2026-03-01": 1, "2026-03-02": 1},
        "superseded": [],
    }
    assert card["recipe"] == {"shots": 512, "seed": 17, "tuning.method": "ia3"}
    assert card["turned"] == {"shots": 512, "tuning.method": "ia3"}
    assert card["lineage"]["compared_with"] == "zero-shot"
    assert card["lineage"]["run_id"] == workspace.registry.version("1").run_id
    assert card["obstacle"] is None


def test_a_card_names_the_days_that_a_correction_has_superseded(workspace):
    publish(workspace, date(2026, 3, 1), revision=2)
    [card] = cards(workspace)
    assert card["data"]["days"]["2026-03-01"] == 1
    assert card["data"]["superseded"] == ["2026-03-01"]
    assert "SUPERSEDED: 2026-03-01" in "\n".join(card_lines(card))


def test_a_card_reads_as_lines_and_as_markdown(workspace):
    card = card_of(workspace, "1")
    assert card is not None
    heading, *lines = card_lines(card)
    assert heading.startswith("v1, waiting: portal ")
    assert "+0.0120 (+0.0040 to +0.0200) over zero-shot" in heading
    told = "\n".join(lines)
    assert "cold items +0.030 (−0.010 to +0.070) on 41" in told
    assert "log loss 0.1800 (champion 0.1900)" in told
    assert "1 of 2 pass; slice tail items: breach, gain -0.05" in told
    assert "training 7.5 s" in told and "240 shots" in told
    assert "shots 512, tuning.method ia3" in told
    assert "started from v7 of mind" in told
    assert "all-MiniLM-L6-v2 (53aa53aa53aa…)" in told
    assert "| guardrails |" in card_markdown(card)


def test_slices_are_told_by_their_guardrails_where_those_hold_them(workspace):
    rules = [
        {"rule": "size", "decision": "pass", "reason": "0.3 MiB", "decides": True, "value": 0.3},
        {"rule": "slice tail items", "decision": "pass", "reason": "gain +0.02", "decides": True}
        | {"value": 0.02, "low": -0.01, "high": 0.05, "impressions": 50, "users": 49},
        {"rule": "slice rare", "decision": "not enough evidence", "reason": "3", "decides": False}
        | {"value": None},
    ]
    later = {"contest": {**CONTEST, "gain": 0.02, "rules": rules, "slices": None}}
    outcome = Outcome("r", day=date(2026, 3, 3), model_version="1", evidence=later)
    workspace.journal.once("2026-03-03/r1/a0/shadow-v1", "shadowed", lambda: outcome)
    [card] = cards(workspace)
    assert card["gain"]["gain"] == 0.02, "in shadow it was judged again"
    assert [each["slice"] for each in card["slices"]] == ["tail items"]
    assert "tail items +0.020 (−0.010 to +0.050) on 50" in "\n".join(card_lines(card))


def test_a_version_that_the_gate_alone_decided_about_is_shown_on_demand(workspace):
    register(workspace, "f2")
    assert [card["version"] for card in cards(workspace)] == ["1"]
    assert [card["version"] for card in cards(workspace, everything=True)] == ["2", "1"]
    assert card_of(workspace, "9") is None
