"""What status finds in a real journal and registry, without a flow."""

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from portal import FIRST_DAY, write_config

from flows.cli import main
from tasks.registry.journal import Outcome
from tasks.status import live_at, status_of, trend
from tasks.workspace import Workspace, open_workspace

NOW = datetime(2026, 3, 9, 9, 0, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(write_config(tmp_path, Path("logs")), "portal")


def close(workspace: Workspace, day: date, auc: float | None = 0.7) -> None:
    record = {
        "day": str(day),
        "verdict": "no retrain",
        "champion_auc": auc,
        "zero_shot_auc": 0.6,
        "published": 100,
    }
    for event in ("published", "closed"):
        evidence = {"record": record, "revision": 1, "interactions": day.toordinal()}
        outcome = Outcome(event, day=day, evidence=evidence)
        workspace.journal.once(f"{day}/{event}", event, lambda outcome=outcome: outcome)


def move(workspace: Workspace, version: str, at: datetime) -> None:
    outcome = Outcome("gain", model_version=version, evidence={"live_since": at.isoformat()})
    workspace.journal.once(f"{version}/promoted", "promoted", lambda: outcome)


def day(n: int) -> date:
    return FIRST_DAY + timedelta(n)


def test_gaps_and_days_that_stopped_half_way_are_named(workspace):
    for n in (0, 1, 4):
        close(workspace, day(n))
    states = {"revision": 1, "interactions": 9}
    workspace.journal.once("x", "published", lambda: Outcome("r", day=day(5), evidence=states))
    found = status_of(workspace, NOW)
    assert (found["last_day"], found["complete_days"]) == (str(day(4)), 3)
    assert found["missing_days"] == [str(day(2)), str(day(3))]
    assert found["unfinished_days"] == [str(day(5))]


def test_a_day_that_ranks_nothing_is_left_out_of_the_auc(workspace):
    for n, auc in enumerate((0.70, None, 0.72)):
        close(workspace, day(n), auc)
    assert status_of(workspace, NOW)["auc"]["champion"] == [0.70, 0.72]


def test_what_won_waits_until_a_person_decides(workspace):
    for version, event in (("3", "waiting"), ("4", "waiting"), ("3", "approved"), ("5", "kept")):
        outcome = Outcome("r", model_version=version)
        workspace.journal.once(f"{version}/{event}", event, lambda outcome=outcome: outcome)
    assert status_of(workspace, NOW)["waiting"] == ["4"]


def test_the_next_run_follows_the_schedule_in_its_own_zone(tmp_path):
    # Berlin turns its clocks on 2026-03-29: 04:30 there is 03:30 UTC before it and 02:30 after it.
    schedule = {"cron": "30 4 * * *", "time_zone": "Europe/Berlin"}
    config = write_config(tmp_path, Path("logs"), schedule=schedule)
    workspace = open_workspace(config, "portal")
    before = status_of(workspace, datetime(2026, 3, 27, 12, tzinfo=UTC))["next_run"]
    after = status_of(workspace, datetime(2026, 3, 28, 12, tzinfo=UTC))["next_run"]
    assert (before, after) == ("2026-03-28T04:30:00+01:00", "2026-03-29T04:30:00+02:00")


def test_the_model_that_was_live_at_a_time_is_named_with_its_reason(workspace):
    move(workspace, "1", datetime(2026, 3, 3, 5, tzinfo=UTC))
    move(workspace, "2", datetime(2026, 3, 5, 5, tzinfo=UTC))
    assert live_at(workspace, datetime(2026, 3, 3, 4, 59, tzinfo=UTC))["champion"] is None
    found = live_at(workspace, datetime(2026, 3, 4))
    assert (found["champion"], found["champion_since"]) == ("1", "2026-03-03T05:00:00+00:00")
    assert found["reason"] == "gain"
    assert live_at(workspace, NOW)["champion"] == "2"


def test_a_line_with_a_slope_is_a_trend_and_scatter_is_none():
    # Worked by hand: 0.70 to 0.76 in equal steps has no residual, so any slope is a trend.
    rising = trend([0, 1, 2, 3], [0.70, 0.72, 0.74, 0.76])
    assert rising["trend"] == "rising"
    assert rising["change"] == pytest.approx(0.06)
    # Slope −0.004, residual sum 0.0128, error sqrt(0.0064 / 5) = 0.036: within two of them.
    assert trend([0, 1, 2, 3], [0.72, 0.64, 0.72, 0.68])["trend"] == "steady"
    assert trend([0, 1], [0.7, 0.8]) == {"trend": "too few days", "change": None}
    assert trend([0, 1, 2], [0.7, 0.7, 0.7])["trend"] == "steady"


@pytest.mark.parametrize("when", ["2026-03-04T09:30", "2026-03-04T09:30:00Z"])
def test_the_command_answers_which_model_was_live(workspace, tmp_path, capsys, monkeypatch, when):
    move(workspace, "1", datetime(2026, 3, 3, 5, tzinfo=UTC))
    code, out, _ = command(monkeypatch, capsys, tmp_path, "status", "--at", when)
    assert code == 0
    assert "portal: at 2026-03-04T09:30:00+00:00 v1 was live, promoted 2026-03-03" in out
    code, out, _ = command(monkeypatch, capsys, tmp_path, "status", "--at", when, "--json")
    assert json.loads(out)["pipelines"][0]["champion"] == "1"


def test_a_time_that_is_none_is_refused_with_an_example(tmp_path, workspace, capsys, monkeypatch):
    code, _, err = command(monkeypatch, capsys, tmp_path, "status", "--at", "yesterday")
    assert code == 2
    assert "'yesterday' is no ISO 8601 time; write one such as" in err


def command(monkeypatch, capsys, folder: Path, *arguments: str) -> tuple[int, str, str]:
    config = str(folder / "pipelines.yaml")
    monkeypatch.setattr(sys, "argv", ["dayspring", *arguments, "--config", config])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err
