"""A week through deployments and pools on PostgreSQL, S3 and an MLflow server, against one embedded."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from outcomes import assert_same_outcome
from portal import FIRST_DAY, write_config

from tasks.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WEEK = [FIRST_DAY + timedelta(days=n) for n in range(7)]

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


def finish(run: Any) -> None:
    """Wait for a run that a pool's worker takes."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        while not (state := client.read_flow_run(run.id).state).is_final():
            time.sleep(0.5)
    assert state.is_completed(), state


def run_week() -> None:
    """A morning of the schedule, then the rest of the week as a backfill."""
    from prefect.deployments import run_deployment

    next_day = WEEK[1]
    morning = datetime(next_day.year, next_day.month, next_day.day, 4, 30, tzinfo=UTC)
    finish(run_deployment("daily/week", scheduled_time=morning, timeout=0))
    span = {"first": str(next_day), "last": str(WEEK[-1])}
    finish(run_deployment("backfill/week", parameters=span, timeout=0))


def test_a_week_through_deployments_and_pools_is_the_week_that_one_process_gives(
    grown: Any, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    for name, value in grown.env().items():
        monkeypatch.setenv(name, value)
    services = {
        "lake": f"{os.environ['DAYSPRING_LAKE']}-week",
        "registry": os.environ["MLFLOW_TRACKING_URI"],
    }
    spread = write_week(tmp_path / "spread", logs, services, compute={"pool": "gpu"})
    dayspring(spread, "deploy")
    with temporary_settings({PREFECT_API_URL: os.environ["PREFECT_API_URL"]}):
        run_week()
    alone = write_week(tmp_path / "alone", logs, {})
    dayspring(alone, "backfill", "week", "--from", str(WEEK[0]), "--to", str(WEEK[-1]))

    ours = open_workspace(spread, "week")
    assert_same_outcome(ours, open_workspace(alone, "week"))
    assert [entry.day for entry in ours.journal.entries(event="closed")] == WEEK
    trained = len(ours.journal.entries(event="trained"))
    assert fine_tuned_by_the_pool(grown, ours) == trained == 2
    assert nothing_is_left_of_lake_registry_or_secret(tmp_path / "spread")
    # The artifacts went through the server to the store: what was registered comes back intact.
    assert any(ours.registry.download("1").iterdir())


def fine_tuned_by_the_pool(grown: Any, workspace: Workspace) -> int:
    """Runs of `finetune` for this pipeline that the worker of the pool gpu carried out."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: grown.env()["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        deployment = client.read_deployment_by_name(f"finetune/{workspace.name}")
        chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
        runs = client.read_flow_runs(flow_run_filter=chosen)
    assert all(run.work_pool_name == "gpu" and run.state.is_completed() for run in runs)
    return len(runs)


def nothing_is_left_of_lake_registry_or_secret(folder: Path) -> bool:
    """Whether the pipeline's own disk holds neither what is on services nor a credential."""
    home = folder / ".dayspring"
    written = [file for file in folder.rglob("*") if file.is_file()]
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    found = [file for file in written if secret in file.read_bytes()]
    return len(written) > 3 and not (
        found or (home / "lake").exists() or (home / "mlflow.db").exists()
    )
