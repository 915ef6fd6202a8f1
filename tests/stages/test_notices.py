"""Notices to a real HTTP server: what is told, how often, and what is never told."""

import logging
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml
from listener import Listener, listening
from portal import DAYS, write_config
from versions import crown, let_wait, register

from flows.runs import check, run_day
from tasks.config import Notice
from tasks.errors import ConfigError, SourceError
from tasks.notices import words
from tasks.notices.send import send
from tasks.notify import tell, tell_drift, tell_verdict
from tasks.registry.journal import Outcome
from tasks.review import approve, follow_up, review_of, roll_back
from tasks.workspace import Workspace, open_workspace

ALL = ("failure", "promotion", "approval", "drift")
NEWS = words.Message("title", "body")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def workspace(tmp_path: Path, migrated: Path, listener: Listener) -> Workspace:
    workspace = open_workspace(write_config(tmp_path, tmp_path / "logs"), "portal")
    shutil.copy(migrated, workspace.home / "mlflow.db")
    return replace(
        workspace, notices=(Notice(to=listener.url, events=ALL), Notice(to="", events=ALL))
    )


def record(workspace: Workspace, event: str, **fields: object):
    outcome = Outcome("gain +0.0120 clears min_gain", day=date(2026, 3, 5), **fields)  # type: ignore[arg-type]
    return workspace.journal.once(f"2026-03-05/{event}", event, lambda: outcome)


def test_a_promotion_is_told_once_with_its_figures_and_the_next_command(workspace, listener):
    entry = record(workspace, "promoted", model_version="3")
    tell_verdict(workspace, entry)
    tell_verdict(workspace, entry)

    [notice] = listener.notices
    assert notice["title"] == "portal 2026-03-05: v3 is live: promoted"
    assert "gain +0.0120 clears min_gain" in notice["message"]
    assert "dayspring rollback portal --reason TEXT" in notice["message"]


def test_a_version_that_waits_is_told_with_the_commands_that_decide(workspace, listener):
    tell_verdict(workspace, record(workspace, "waiting", model_version="3"))
    [notice] = listener.notices
    assert notice["title"] == "portal 2026-03-05: v3 waits for approval"
    assert "dayspring approve portal 3 --reason TEXT" in notice["message"]


def test_a_champion_that_was_kept_is_no_news(workspace, listener):
    tell_verdict(workspace, record(workspace, "kept", model_version="3"))
    assert listener.notices == []


def test_drift_is_told_with_the_columns_that_moved(workspace, listener):
    column = {
        "column": "category",
        "value": 0.4,
        "threshold": 0.1,
        "words": "sports 31 %, was 12 %",
        "reference": "rolling",
    }
    report = {
        "drifted": True,
        "reference": "2026-02-02 to 2026-02-04",
        "references": {"rolling": {"period": "2026-03-02 to 2026-03-04", "days": 3}},
        "columns": [{**column, "drifted": True}, {**column, "column": "hour", "drifted": False}],
    }
    tell_drift(workspace, record(workspace, "profiled", evidence={"report": report}))
    [notice] = listener.notices
    assert notice["title"] == "portal 2026-03-05: category drifted"
    told = "category 0.400 of 0.1 against 2026-03-02 to 2026-03-04 (sports 31 %, was 12 %)."
    assert told in notice["message"]


def test_a_day_without_drift_is_no_news(workspace, listener):
    tell_drift(workspace, record(workspace, "profiled", evidence={"report": None}))
    assert listener.notices == []


def test_an_approval_and_a_rollback_are_told_with_who_and_why(workspace, listener):
    crown(workspace, register(workspace, "f1"), over=None)
    let_wait(workspace, register(workspace, "f2"), over="1")
    approve(workspace, "2", review_of("ana", "looks right"))
    follow_up(workspace)
    roll_back(workspace, None, review_of("ben", "clicks fell"))
    follow_up(workspace)
    assert listener.titles == [
        "portal: v2 is live: approved",
        "portal: v1 is live again: rolled back",
    ]
    assert "By ben: clicks fell." in listener.notices[1]["message"]


def test_only_the_kinds_that_were_asked_for_are_told(workspace, listener):
    quiet = replace(workspace, notices=(Notice(to=listener.url, events=("failure",)),))
    tell_verdict(quiet, record(quiet, "promoted", model_version="3"))
    assert listener.notices == []
    assert quiet.journal.entries(event="notified") == []


def test_a_place_that_refuses_costs_one_line_without_its_secret(workspace, caplog):
    with listening(status=500) as refusing, caplog.at_level(logging.DEBUG):
        told = replace(workspace, notices=(Notice(to=refusing.url, events=ALL),))
        assert tell(told, "drift", NEWS) == "0 of 1 places"
    lines = [r.getMessage() for r in caplog.records if r.name in ("dayspring", "apprise")]
    assert len(lines) == 1
    assert "A notice of drift was not delivered: json://user:****@127.0.0.1" in lines[0]
    assert "secret" not in caplog.text


def test_a_place_that_is_slow_is_given_up(listener):
    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"json://127.0.0.1:{silent.getsockname()[1]}/?rto=60"
        missed = send(url, NEWS, patience_seconds=0.2)
    assert missed is not None
    assert missed.endswith("not within 0.2 s")


def test_an_address_that_cannot_be_sent_to_is_a_config_error_without_the_secret(tmp_path):
    path = write_config(tmp_path, tmp_path / "logs")
    document = yaml.safe_load(path.read_text())
    document["notify"] = [
        {"to": "", "events": ["failure"]},
        {"to": "slak://xoxb-secret/channel", "events": ["failure"]},
    ]
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"notify\.1\.to: slak://… is no address") as raised:
        check(path)
    assert "secret" not in str(raised.value)


def test_a_run_that_fails_is_told_with_its_error_and_the_command_that_continues(
    tmp_path, portal_logs, prefect_server, listener
):
    path = write_config(tmp_path, portal_logs)
    document = yaml.safe_load(path.read_text())
    document["notify"] = [{"to": listener.url, "events": ["failure"]}]
    path.write_text(yaml.safe_dump(document))

    with pytest.raises(SourceError):
        run_day(path, "portal", date(2026, 4, 1), force=False)

    [notice] = listener.notices
    assert notice["title"] == "portal: daily portal-2026-04-01 failed"
    assert "No file for 2026-04-01" in notice["message"] and str(DAYS[-1]) in notice["message"]
    assert "zero-shot stays in service" in notice["message"]
    assert "dayspring run portal --day 2026-04-01" in notice["message"]


def test_a_long_error_is_cut_and_the_command_stays():
    message = words.failure("portal", "daily x", "e" * 5000, "v3", "dayspring run portal")
    assert len(message.body) <= words.MAX_TEXT
    assert message.body.endswith("\nContinue with: dayspring run portal")
