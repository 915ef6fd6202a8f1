"""A week through deployments and pools on PostgreSQL, S3 and an MLflow server, against one embedded.

The worker that fine-tunes for the second time is killed while it does.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from outcomes import assert_same_outcome
from portal import FIRST_DAY, write_config

from flows.hand_over import fine_tune
from infra.local.stack import Stack
from tasks.errors import ConfigError
from tasks.references import Published, Trigger
from tasks.workspace import TRAINING, Workspace, open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WEEK = [FIRST_DAY + timedelta(days=n) for n in range(7)]
TRAINED = [WEEK[0], WEEK[4]]
"""By the first model, and by the cadence of four days."""

RECIPE: dict[str, dict[str, Any]] = {
    # Not every day fine-tunes: the days between show that a pool is asked only when it is needed.
    "retrain": {"any": [{"rule": "cadence", "every_days": 4}]},
    "finetune": {"shots": 384, "window_days": 3, "head_epochs": 4, "adapter_epochs": 0},
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week of a small portal."""
    from tasks.simulator.settings import SimulatorSettings
    from tasks.simulator.simulate import simulate

    folder = tmp_path_factory.mktemp("week")
    settings = SimulatorSettings(seed=5, num_users=120, impressions_per_day=300, births_per_day=40)
    simulate(settings, out=folder, first_day=FIRST_DAY, days=len(WEEK))
    return folder


def write_week(folder: Path, logs: Path, services: dict[str, str], **changes: Any) -> Path:
    """The portal as a pipeline of this test's own: other tests of the stack have `portal`."""
    folder.mkdir()
    config = write_config(folder, logs, **RECIPE, **changes)
    document = yaml.safe_load(config.read_text())
    document["pipelines"] = {"week": document["pipelines"]["portal"]}
    config.write_text(yaml.safe_dump(document | {"services": services}))
    return config


def dayspring(config: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments, "--config", str(config)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def services(grown: Stack) -> Iterator[dict[str, str]]:
    """The stack's addresses and credentials in this process; where the pipeline has lake and registry."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    stack = grown.env()
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: stack["PREFECT_API_URL"]}),
    ):
        for name, value in stack.items():
            patch.setenv(name, value)
        lake = f"{stack['DAYSPRING_LAKE']}-week"
        yield {"lake": lake, "registry": stack["MLFLOW_TRACKING_URI"]}


@pytest.fixture(scope="module")
def spread(
    tmp_path_factory: pytest.TempPathFactory, logs: Path, grown: Stack, services: dict[str, str]
) -> Path:
    """The week's config, after a morning of the schedule and the rest of the week as a backfill."""
    from prefect.deployments import run_deployment

    folder = tmp_path_factory.mktemp("through") / "pools"
    config = write_week(folder, logs, services, compute={"pool": "gpu"})
    dayspring(config, "deploy")
    next_day = WEEK[1]
    morning = datetime(next_day.year, next_day.month, next_day.day, 4, 30, tzinfo=UTC)
    finish(run_deployment("daily/week", scheduled_time=morning, timeout=0))
    span = {"first": str(next_day), "last": str(WEEK[-1])}
    backfill = run_deployment("backfill/week", parameters=span, timeout=0)
    kill_the_one_who_fine_tunes(open_workspace(config, "week"), TRAINED[1], grown)
    grown.up()
    finish(backfill)
    return config


@pytest.fixture(scope="module")
def ours(spread: Path) -> Workspace:
    return open_workspace(spread, "week")


def finish(run: Any) -> None:
    """Wait for a run that a pool's worker takes."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        while not (state := client.read_flow_run(run.id).state).is_final():
            time.sleep(0.5)
    assert state.is_completed(), state


def kill_the_one_who_fine_tunes(workspace: Workspace, day: date, stack: Stack) -> None:
    """Kill the worker, and all processes of its runs, that holds the fine-tuning lease for `day`."""
    while not workspace.journal.entries(day=day, event="triggered"):
        time.sleep(0.2)
    while (holder := workspace.leases.holder(TRAINING)) is None or holder.released:
        time.sleep(0.02)
    worker = psutil.Process(stack.running()["worker-gpu"])
    tree = [worker, *worker.children(recursive=True)]
    assert holder.pid in {process.pid for process in tree}
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.suspend()  # so that none sees another die, and reports it
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert not workspace.journal.entries(day=day, event="trained")  # else it was killed too late


def finetune_runs() -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("finetune/week")
        chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
        return client.read_flow_runs(flow_run_filter=chosen)


def test_a_week_through_pools_with_a_worker_killed_is_the_week_that_one_process_gives(
    ours: Workspace, logs: Path, tmp_path: Path
) -> None:
    alone = write_week(tmp_path / "alone", logs, {})
    dayspring(alone, "backfill", "week", "--from", str(WEEK[0]), "--to", str(WEEK[-1]))
    assert_same_outcome(ours, open_workspace(alone, "week"))
    assert [entry.day for entry in ours.journal.entries(event="closed")] == WEEK
    assert [entry.day for entry in ours.journal.entries(event="trained")] == TRAINED
    # The artifacts went through the server to the store: what was registered comes back intact.
    assert any(ours.registry.download("1").iterdir())


def test_the_run_of_the_killed_worker_is_marked_crashed_and_another_did_its_work(
    ours: Workspace,
) -> None:
    runs = finetune_runs()
    assert {run.work_pool_name for run in runs} == {"gpu"}
    states = sorted(run.state.name for run in runs)
    assert states == ["Completed"] * len(TRAINED) + ["Crashed"]
    (dead,) = [run for run in runs if run.state.is_crashed()]
    assert "lease" in dead.state.message


def test_a_workers_result_is_a_reference_and_never_passes_through_prefect(ours: Workspace) -> None:
    runs = [run for run in finetune_runs() if run.state.is_completed()]
    assert len(runs) == len(TRAINED)
    assert all(getattr(run.state.data, "storage_key", None) is None for run in runs)


def test_the_pipelines_own_disk_holds_no_lake_no_registry_and_no_secret(ours: Workspace) -> None:
    home = ours.home
    written = [file for file in home.parent.rglob("*") if file.is_file()]
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    assert len(written) > 3
    assert not [file for file in written if secret in file.read_bytes()]
    assert not (home / "lake").exists()
    assert not (home / "mlflow.db").exists()


def test_what_a_workers_run_fails_with_is_what_the_operator_sees_and_is_not_repeated(
    ours: Workspace, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    missing = tmp_path / "pipelines.yaml"  # as on a worker with another disk
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("finetune/week")
        parameters = {**deployment.parameters, "config_file": str(missing)}
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))
    (entry, *_) = ours.journal.entries(event="published")
    facts = {name: entry.evidence[name] for name in Published.model_fields}
    published = Published.model_validate({**facts, "attempt": 99})
    trigger = Trigger(retrain=True, reasons=["always"])
    with pytest.raises(ConfigError, match=f"^{missing} does not exist"):
        fine_tune(ours, missing, published, trigger)
    assert [run.state.is_failed() for run in finetune_runs()].count(True) == 1
