"""What drift found on earlier days is read from the journal, not measured again."""

from datetime import date, timedelta

import pytest
from portal import write_config

from tasks.drift.past import HISTORY_DAYS, ROLLING
from tasks.drift_history import past_days
from tasks.registry.journal import Outcome
from tasks.replay import replay_workspace
from tasks.workspace import open_workspace

FIRST = date(2026, 3, 2)


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(write_config(tmp_path, tmp_path / "logs"), "portal")


def day(number):
    return FIRST + timedelta(days=number)


def profiled(workspace, number, value=0.1, revision=1):
    seen = {"value": value, "noise": 0.01, "p": 0.5, "drifted": False}
    column = {"column": "hour", "measure": "JS distance", "against": {ROLLING: seen}}
    report = {"columns": [column], "references": {ROLLING: {"period": "", "days": 7}}}
    outcome = Outcome("told", day=day(number), evidence={"report": report, "seconds": 1.0})
    key = f"{day(number)}/r{revision}/a0/profiled"
    workspace.journal.once(key, "profiled", lambda: outcome)


def values(past):
    return [each.against[ROLLING]["hour", "JS distance"].value for each in past]


def test_the_newest_verdict_on_each_day_before_counts_oldest_first(workspace):
    for number, value in ((1, 0.1), (0, 0.2), (2, 0.3), (3, 0.4)):
        profiled(workspace, number, value)
    profiled(workspace, 0, 0.5, revision=2)
    assert values(past_days(workspace, day(3))) == [0.5, 0.1, 0.3]


def test_a_day_that_had_nothing_to_be_compared_with_is_left_out(workspace):
    outcome = Outcome("told", day=FIRST, evidence={"report": None, "seconds": 1.0})
    workspace.journal.once(f"{FIRST}/r1/a0/profiled", "profiled", lambda: outcome)
    profiled(workspace, 1)
    assert [each.day for each in past_days(workspace, day(9))] == [day(1)]


def test_only_the_newest_days_are_read(workspace, monkeypatch):
    monkeypatch.setattr("tasks.drift.past.HISTORY_DAYS", 2)
    for number in range(4):
        profiled(workspace, number)
    assert [each.day for each in past_days(workspace, day(9))] == [day(2), day(3)]
    assert HISTORY_DAYS >= 90


def test_a_replay_begins_with_what_the_real_history_found_before_it(workspace):
    for number in range(4):
        profiled(workspace, number, 0.1 * number)
    replay = replay_workspace(workspace, day(2), [], "other")
    begun = Outcome("begun", evidence={"first": str(day(2)), "policy": {}})
    replay.journal.once("begun", "begun", lambda: begun)
    profiled(replay, 2, 0.9)
    assert values(past_days(replay, day(3))) == [0.0, 0.1, 0.9]
