"""Days whose winners wait for a person: the wait, the decision by run and by command, what follows."""

import contextvars
import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from portal import DAYS, write_config
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.flow_runs import resume_flow_run
from prefect.settings import PREFECT_API_URL
from versions import let_wait, register

from flows.cli import main
from flows.review import ask_for_review, review
from flows.runs import run_day
from tasks.cards import cards
from tasks.environment import WORKER_ENVIRONMENT
from tasks.references import Verdict
from tasks.review import already_decided, reject, review_of, roll_back
from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.simulate import simulate
from tasks.workspace import Workspace, open_workspace


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """Two days of a portal that is easy to learn, so that its challengers win."""
    folder = tmp_path_factory.mktemp("manual")
    settings = SimulatorSettings(seed=3, num_users=300, impressions_per_day=900, births_per_day=60)
    simulate(settings, out=folder / "logs", first_day=DAYS[0], days=2)
    bar = {"approval": "manual", "false_promotions_a_year": 150}
    return write_config(folder, folder / "logs", promote=bar)


@pytest.fixture(scope="module")
def first_day(config, prefect_server) -> dict[str, Any]:
    return run_day(config, "portal", DAYS[0], force=False)


@pytest.fixture
def workspace(config, first_day) -> Workspace:
    return open_workspace(config, "portal")


def start(config: Path, version: str) -> tuple[Future[dict[str, Any]], FlowRun]:
    """A review run in a thread, once it is paused."""
    settings = contextvars.copy_context()
    running = ThreadPoolExecutor(1).submit(settings.run, review, "portal", version, config)
    return running, wait_for(f"portal-v{version}", StateType.PAUSED)


def wait_for(name: str, state: StateType) -> FlowRun:
    """The run of that name, once it is in that state."""
    filters = FlowRunFilter.model_validate(
        {"name": {"any_": [name]}, "state": {"type": {"any_": [state]}}}
    )
    with get_client(sync_client=True) as client:
        for _ in range(600):
            if found := client.read_flow_runs(flow_run_filter=filters):
                return found[0]
            time.sleep(0.1)
    raise AssertionError(f"no run {name} became {state}")


def answer(run: FlowRun, decision: str) -> None:
    resume_flow_run(run.id, {"decision": decision, "reason": "looks right", "actor": "ana"})


def test_a_winner_waits_and_its_day_closes_with_that(first_day, workspace):
    assert first_day["verdict"] == "waiting for approval"
    assert workspace.registry.champion() is None
    events = [entry.event for entry in workspace.journal.entries(day=DAYS[0])]
    assert events[-2:] == ["waiting", "closed"]
    assert run_day_again(workspace, first_day) == first_day


def run_day_again(workspace: Workspace, record: dict[str, Any]) -> dict[str, Any]:
    again = run_day(workspace.home.parent / "pipelines.yaml", "portal", DAYS[0], force=False)
    return {**again, "report": record["report"]}


def test_the_card_of_a_waiting_version_says_all_that_a_reviewer_asks(workspace, first_day):
    [card] = cards(workspace)
    assert card["review"]["state"] == "waiting"
    assert card["obstacle"] is None
    assert card["gain"]["low"] <= card["gain"]["gain"] <= card["gain"]["high"]
    assert set(card["metrics"]) == {"calibration_error", "log_loss", "ndcg_10", "mrr"}
    assert {"size"} == {rule["rule"] for rule in card["guardrails"]}
    assert card["data"]["days"] == {str(DAYS[0]): 1}
    assert card["data"]["tables"]["interactions"] >= 1
    assert card["data"]["superseded"] == []
    assert card["validation"]["passed"]
    assert card["trigger"] == first_day["trigger"]["reasons"]
    assert card["recipe"]["shots"] == 512
    assert card["cost"]["train_seconds"] > 0 and card["cost"]["rows"] > 0
    lineage = card["lineage"]
    assert lineage["compared_with"] == "zero-shot"
    assert len(lineage["base"]["sha256"]) == 64
    assert lineage["run_id"] == workspace.registry.version("1").run_id


def test_the_command_shows_the_card_and_how_to_decide(workspace, config, capsys, monkeypatch):
    def dayspring(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["dayspring", *arguments, "--config", str(config)])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 0
        return capsys.readouterr().out

    shown = dayspring("review")
    assert shown.startswith("v1, waiting: portal 2026-03-02, +0.")
    assert "days 2026-03-02 r1" in shown
    assert "1 waiting; decide: dayspring approve portal 1 --reason TEXT" in shown
    [card] = json.loads(dayspring("review", "portal", "--json"))["versions"]
    assert card["version"] == "1"


def test_a_review_run_pauses_and_carries_out_what_it_is_told(workspace, config):
    running, run = start(config, "1")
    answer(run, "approve")
    decided = running.result(timeout=60)

    assert (decided["decision"], decided["by"], decided["changed"]) == ("approved", "ana", True)
    champion = workspace.registry.champion()
    assert champion is not None
    assert champion.version == "1"
    assert workspace.journal.moves()[-1].event == "approved"


def test_the_day_after_a_rollback_compares_with_the_restored_champion(workspace, config, first_day):
    roll_back(workspace, None, review_of("ana", "clicks fell"))
    run_day_again(workspace, first_day)
    assert workspace.registry.champion() is None, "the rolled-back day moves nothing again"

    record = run_day(config, "portal", DAYS[1], force=False)

    assert record["champion"] == "zero-shot"
    assert record["verdict"] == "waiting for approval"
    [waiting] = [c for c in cards(workspace) if c["review"]["state"] == "waiting"]
    assert (waiting["version"], waiting["lineage"]["compared_with"]) == ("2", "zero-shot")


def test_a_run_that_is_answered_too_late_says_what_was_decided(workspace, config):
    version = register(workspace, "late")
    let_wait(workspace, version, over=None)
    running, run = start(config, version)
    reject(workspace, version, review_of("ben", "cold items suffer"))
    answer(run, "approve")
    decided = running.result(timeout=60)

    assert (decided["decision"], decided["by"]) == ("rejected", "ben")
    assert decided["reason"] == "cold items suffer"
    assert not decided["changed"]
    assert workspace.registry.champion() is None


def test_a_waiting_version_starts_one_suspended_run_that_a_worker_carries_out(
    workspace, config, request
):
    version = register(workspace, "deployed")
    let_wait(workspace, version, over=None)
    verdict = Verdict(
        decision="waiting for approval", reason="won", model_version=version, live_since=None
    )
    ask_for_review(workspace, config, verdict)  # no deployment yet: nothing to start
    deployment = review.to_deployment(
        "portal",
        entrypoint_type=entrypoint_by_module(),
        work_pool_name="reviews",
        job_variables={"env": WORKER_ENVIRONMENT},
    )
    run_prefect("work-pool", "create", "reviews", "--type", "process")
    found = deployment.apply()
    request.addfinalizer(lambda: remove(found, "reviews"))

    for _ in range(2):
        ask_for_review(workspace, config, verdict)
    by_deployment = DeploymentFilter.model_validate({"id": {"any_": [found]}})
    with get_client(sync_client=True) as client:
        assert len(client.read_flow_runs(deployment_filter=by_deployment)) == 1

    run_prefect("worker", "start", "--pool", "reviews", "--run-once")
    answer(wait_for(f"portal-v{version}", StateType.PAUSED), "approve")
    run_prefect("worker", "start", "--pool", "reviews", "--run-once")
    wait_for(f"portal-v{version}", StateType.COMPLETED)
    decided = already_decided(workspace, version)
    assert decided is not None
    assert (decided.decision, decided.by, decided.champion) == ("approved", "ana", version)


def remove(deployment: UUID, pool: str) -> None:
    with get_client(sync_client=True) as client:
        client.delete_deployment(deployment)
        client.delete_work_pool(pool)


def entrypoint_by_module():
    from prefect.deployments.runner import EntrypointType

    return EntrypointType.MODULE_PATH


def run_prefect(*arguments: str) -> None:
    """The `prefect` command of this environment, on the tests' server."""
    subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
        check=True,
        capture_output=True,
        timeout=300,
    )
