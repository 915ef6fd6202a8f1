"""Runs that a schedule started: for which day, in which order, and what a late one does."""

import sys
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from portal import DAYS, FIRST_DAY, write_config

from flows.cli import main
from flows.deploy import deploy
from tasks.errors import SourceError
from tasks.plan import plan_day
from tasks.workspace import open_workspace


@pytest.fixture
def client(prefect_server):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client
        for name in ("daily", "backfill"):
            client.delete_deployment(client.read_deployment_by_name(f"{name}/portal").id)


def run_scheduled(client, config: Path, scheduled: datetime) -> dict:
    """Run `daily/portal` in this process as its worker would, scheduled for the given time."""
    from prefect.flow_engine import run_flow
    from prefect.states import Scheduled

    from flows.daily import daily

    deploy(config, None, show=lambda _: None, dry_run=False)
    deployment = client.read_deployment_by_name("daily/portal")
    state = Scheduled(scheduled_time=scheduled)
    run = client.create_flow_run_from_deployment(deployment.id, state=state)
    return run_flow(daily, flow_run=run, parameters=deployment.parameters)


def test_a_run_that_starts_late_is_for_the_day_before_its_own_time_in_the_sources_zone(
    client, tmp_path
):
    # 20:30 UTC on the 4th is the 5th in Tokyo, so the day is the 4th; no zone makes it today's.
    config = write_config(tmp_path, tmp_path / "none", source={"time_zone": "Asia/Tokyo"})
    with pytest.raises(SourceError, match="2026-03-04"):
        run_scheduled(client, config, datetime(2026, 3, 4, 20, 30, tzinfo=UTC))
    # A notice of the failure reads the day from the run's name.
    assert "portal-2026-03-04" in {run.name for run in client.read_flow_runs()}


def test_a_scheduled_run_waits_for_the_one_at_work_and_a_person_is_refused_at_once(
    client, tmp_path, capsys, monkeypatch
):
    config = write_config(tmp_path, tmp_path / "none")
    workspace = open_workspace(config, "portal")
    taken, refused = threading.Event(), threading.Event()
    given_back: list[float] = []

    def work() -> None:
        with workspace.alone():
            taken.set()
            refused.wait()
            time.sleep(3)  # longer than a person is let wait
            given_back.append(time.monotonic())

    other = threading.Thread(target=work)
    other.start()
    taken.wait()
    arguments = ["run", "portal", "--day", str(FIRST_DAY), "--config", str(config)]
    monkeypatch.setattr(sys, "argv", ["dayspring", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert "run is held by process" in capsys.readouterr().err
    refused.set()
    with pytest.raises(SourceError):  # its turn came, and there it found no logs
        run_scheduled(client, config, datetime(2026, 3, 3, 4, 30, tzinfo=UTC))
    assert given_back and time.monotonic() > given_back[0]
    other.join()


@pytest.mark.slow
def test_a_late_run_that_its_successor_has_overtaken_does_nothing_and_says_how_to_catch_up(
    client, tmp_path, portal_logs, warm_home
):
    from flows.daily import daily

    # The catalogue of the day that is late is not there yet.
    lenient = {"severities": {"items": "warning"}}
    config = write_config(tmp_path, portal_logs, home=warm_home, validate=lenient)
    daily("portal", DAYS[0], config)
    daily("portal", DAYS[2], config)
    record = run_scheduled(client, config, datetime(2026, 3, 4, 4, 30, tzinfo=UTC))

    workspace = open_workspace(config, "portal")
    assert record["verdict"] == "overtaken"
    assert f"dayspring run portal --day {DAYS[1]}" in record["reason"]
    (entry,) = workspace.journal.entries(day=DAYS[1])
    assert entry.event == "overtaken" and str(DAYS[2]) in entry.reason
    assert published_days(workspace) == {DAYS[0], DAYS[2]}

    # Nothing is lost: the day is still to be run, and the command publishes it.
    assert plan_day(workspace, DAYS[1], force=False).action == "run"
    again = daily("portal", DAYS[1], config)
    assert again["verdict"] == "published only"
    assert DAYS[1] in published_days(workspace)


def published_days(workspace) -> set[date]:
    return {entry.day for entry in workspace.journal.entries(event="published")}
