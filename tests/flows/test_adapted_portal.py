"""A backfill of three simulated days: what it leaves behind, and what a repeat changes."""

import html
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from portal import DAYS, write_config

from flows.cli import main
from flows.runs import find_report, plan_range, run_range
from tasks.report.words import went_live
from tasks.review import force, review_of
from tasks.status import status_of
from tasks.workspace import Workspace, open_workspace


@pytest.fixture(scope="module")
def config(tmp_path_factory, portal_logs, warm_home) -> Path:
    return write_config(tmp_path_factory.mktemp("adapted"), portal_logs, home=warm_home)


@pytest.fixture(scope="module")
def records(config, prefect_server) -> list[dict[str, Any]]:
    return run_range(config, "portal", DAYS[0], DAYS[-1], force=False)


@pytest.fixture(scope="module")
def workspace(config, records) -> Workspace:
    return open_workspace(config, "portal")


def test_every_day_has_a_record_with_all_that_json_promises(records):
    assert [record["day"] for record in records] == [str(day) for day in DAYS]
    for record in records:
        promised = "day rows_read published quarantined duplicates champion_auc zero_shot_auc drift"
        promised += " trigger contest verdict model_version seconds"
        assert set(promised.split()) <= set(record)
        assert set(record["trigger"]) == {"retrain", "reasons", "opinions"}
        contest = record["contest"]
        assert {"champion_auc", "challenger_auc", "gain", "low", "high"} <= set(contest)
        assert contest["low"] <= contest["gain"] <= contest["high"]
        assert record["verdict"] in {"promote", "reject", "not enough evidence"}
        assert {"ingest", "validate", "finetune", "evaluate", "close_day"} <= set(record["seconds"])


def test_no_row_is_lost(records, workspace):
    for record in records:
        kept = record["published"] + record["quarantined"] + record["duplicates"]
        assert record["rows_read"] == kept
    lake = workspace.lake
    assert lake.read("interactions").num_rows == sum(r["published"] for r in records)
    logs = lake.read("quarantine").filter(
        [not str(s).startswith("items") for s in lake.read("quarantine")["source"].to_pylist()]
    )
    assert logs.num_rows == sum(r["quarantined"] for r in records) > 0
    ids = lake.read("interactions", columns=["event_id"])["event_id"]
    assert len(ids.unique()) == len(ids)


def test_the_first_days_record_is_the_zero_shot_models(records):
    assert records[0]["champion"] == "zero-shot"
    assert records[0]["champion_auc"] == records[0]["zero_shot_auc"] > 0.5
    assert records[0]["drift"] is None


def test_a_day_is_scored_with_the_champion_from_before_it(records, workspace):
    """The journal's promotions before a day name the champion that the day's record names."""
    live = "zero-shot"
    for record in records:
        assert record["champion"] == live
        if version := went_live(record):
            live = f"v{version}"
    assert live != "zero-shot", "a learnable portal promotes at least once"
    assert f"v{workspace.registry.champion().version}" == live


def test_a_repeat_changes_nothing(config, records, workspace):
    before = {name: workspace.lake.version(name) for name in ("interactions", "items", "journal")}
    again = run_range(config, "portal", DAYS[0], DAYS[-1], force=False)
    assert again == records
    after = {name: workspace.lake.version(name) for name in ("interactions", "items", "journal")}
    assert after == before


def test_a_dry_run_says_that_complete_days_are_skipped(config, records):
    plans = plan_range(config, "portal", DAYS[0], DAYS[-1], force=False)
    assert [plan.action for plan in plans] == ["skip"] * 3
    forced = plan_range(config, "portal", DAYS[0], DAYS[-1], force=True)
    assert [plan.action for plan in forced] == ["repeat"] * 3


def test_the_journal_tells_the_day_in_order_and_each_event_once(records, workspace):
    entries = workspace.journal.entries(day=DAYS[1])
    shadows = [e.event for e in entries if "shadow" in e.key.rpartition("/")[2]]
    events = [e.event for e in entries if "shadow" not in e.key.rpartition("/")[2]]
    assert shadows[:1] in ([], ["shadows"])
    assert set(shadows[1:]) <= {"shadowed", "promoted", "kept"}
    assert events[:3] == ["published", "scored", "profiled"]
    assert events[3:6] == ["triggered", "trained", "judged"]
    assert events[6] in {"promoted", "kept", "shadowed"}
    assert events[7:] == ["closed"]


def test_why_a_challenger_did_not_go_live_is_one_sentence_everywhere(config, records, workspace):
    """In the journal, on the version, in the report; `status` tells the last day's."""
    told = 0
    for record in records:
        if went_live(record) or record["model_version"] is None:
            continue
        told += 1
        [verdict] = [
            entry
            for entry in workspace.journal.entries(DAYS[0].fromisoformat(record["day"]))
            if entry.key.endswith("/verdict")
        ]
        markdown, page = find_report(config, "portal", DAYS[0].fromisoformat(record["day"]))
        assert record["reason"] == verdict.reason
        assert record["reason"][:150] in html.unescape(page.read_text())
        assert record["reason"].split("(")[0] in markdown
    assert told
    assert status_of(workspace, datetime.now(UTC))["why"] == records[-1]["reason"]
    for version in workspace.registry.versions():
        [*_, newest] = [
            entry
            for entry in workspace.journal.entries()
            if entry.model_version == version.version
            and entry.event in ("promoted", "kept", "shadowed")
        ]
        assert version.tags["reason"] == newest.reason


def test_every_day_has_a_page_and_the_index_links_it(config, records, workspace):
    index = (workspace.reports / "index.html").read_text()
    month = (workspace.reports / "2026-03.html").read_text()
    for record in records:
        markdown, page = find_report(config, "portal", DAYS[0].fromisoformat(record["day"]))
        assert record["day"] in markdown
        assert page.read_text().startswith("<!doctype html>") or "<html" in page.read_text()[:200]
        assert page.name in index
        assert page.name in month


def test_a_version_carries_what_a_reviewer_needs(records, workspace):
    champion = workspace.registry.champion()
    tags = champion.tags
    assert tags["verdict"] == "promote"
    assert tags["trigger"]
    assert json.loads(tags["data_versions"])["interactions"] >= 1
    assert tags["code_version"]
    assert "gain" in champion.description


def test_the_champion_loads_by_alias_in_a_fresh_process_and_predicts(records, workspace):
    code = """
import mlflow, pandas as pd, sys
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/dayspring.portal@champion")
frame = pd.DataFrame({"history": [["the team won the final match"], []],
                      "candidates": [["a late goal wins the cup", "shares fell again"], ["rain"]]})
scores = model.predict(frame)
assert [len(s) for s in scores] == [2, 1], scores
assert all(0 < p < 1 for s in scores for p in s), scores
print("predicted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, workspace.tracking_uri], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("predicted"), done.stderr


def test_predict_ranks_the_candidates_of_a_file(config, records, tmp_path):
    source, scored = tmp_path / "in.csv", tmp_path / "out.csv"
    item = open_workspace(config, "portal").lake.read("items")["item_id"].to_pylist()[:3]
    rows = "".join(f"u1,{name},2026-03-04T12:00:00Z\n" for name in item)
    source.write_text("user_id,item_id,event_time\n" + rows)
    with pytest.raises(SystemExit) as left:
        _run(["predict", "portal", "--input", source, "--output", scored, "--config", config])
    assert left.value.code == 0
    lines = scored.read_text().splitlines()
    assert lines[0].endswith("click_probability,rank")
    assert sorted(line.split(",")[-1] for line in lines[1:]) == ["1", "2", "3"]


def test_the_filter_writes_the_candidates_at_or_above_the_threshold(config, records, tmp_path):
    source, written = tmp_path / "in.csv", tmp_path / "out.csv"
    items = open_workspace(config, "portal").lake.read("items")["item_id"].to_pylist()[:5]
    rows = "".join(f"u1,{name},2026-03-04T12:00:00Z\n" for name in items)
    source.write_text("user_id,item_id,event_time\n" + rows)

    def answers(*task: object) -> list[str]:
        with pytest.raises(SystemExit) as left:
            _run(
                [
                    "predict",
                    "portal",
                    "--input",
                    source,
                    "--output",
                    written,
                    *task,
                    "--config",
                    config,
                ]
            )
        assert left.value.code == 0
        return written.read_text().splitlines()

    heading, *ranked = answers()
    probability = [float(line.split(",")[-2]) for line in ranked]
    middle = sorted(probability)[2]
    kept = answers("--task", "filter", "--threshold", repr(middle))
    expected = [r for r, p in zip(ranked, probability, strict=True) if p >= middle]
    assert kept == [heading, *expected] and 3 <= len(expected) < 5
    assert answers("--task", "filter", "--threshold", 1) == [heading]


def test_predict_without_an_output_adds_to_a_redirected_stdout(config, records, tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text('{"user_id": "u1", "item_id": "n1"}\n{"user_id": "u1", "item_id": "n2"}\n')
    print("before")
    with pytest.raises(SystemExit):
        _run(["predict", "portal", "--input", source, "--config", config])
    before, heading, *rows = capsys.readouterr().out.splitlines()
    assert before == "before"
    assert heading.endswith('"click_probability","rank"')
    assert len(rows) == 2


def test_status_shows_the_champion_and_the_days_as_one_json_document(config, records, capsys):
    with pytest.raises(SystemExit) as left:
        _run(["status", "--json", "--config", config])
    assert left.value.code == 0
    [portal] = json.loads(capsys.readouterr().out)["pipelines"]
    assert portal["champion"]
    assert [day["day"] for day in portal["days"]] == [str(day) for day in DAYS]


def test_an_older_day_again_is_only_published_once_the_champion_knows_later_ones(
    config, records, workspace
):
    newest = workspace.registry.versions()[-1].version
    force(workspace, newest, review_of("ana", "it knows the last day"))
    [record] = run_range(config, "portal", DAYS[0], DAYS[0], force=True)
    assert record["verdict"] == "published only"
    assert record["champion"] == "zero-shot"
    assert "has learned from later days" in record["reason"]


def _run(arguments: list[object]) -> None:
    """The command line in this process."""
    sys.argv = ["dayspring", *map(str, arguments)]
    main()
