"""What a day that waits for a pool does and says, on a real server, with nobody or a dead one at work."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from outcomes import versions
from portal import DAYS, write_config

from flows.deploy import deploy
from flows.hand_over import fine_tune
from tasks.errors import ConfigError, OrchestrationError, RegistryError
from tasks.references import Published, Trigger
from tasks.workspace import TRAINING, open_workspace

TRIGGER = Trigger(retrain=True, reasons=["always"])


@pytest.fixture
def published(tmp_path) -> Published:
    """A publication that nobody has trained on."""
    counts = dict.fromkeys(("rows_read", "published", "quarantined", "duplicates", "late"), 0)
    versions = dict.fromkeys(("interactions", "items", "item_hours"), 0)
    return Published(
        day=DAYS[0],
        revision=1,
        attempt=0,
        quarantine_reasons={},
        seconds=time.time(),  # the server is the session's: another test's runs are not this one's
        **counts,
        **versions,
    )


@pytest.fixture
def config(tmp_path, portal_logs) -> Path:
    """A pipeline whose pool is waited for six seconds."""
    return write_config(tmp_path, portal_logs, compute={"pool": "gpu", "wait_minutes": 0.1})


@pytest.fixture
def client(prefect_server):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployment(client, config):
    """The pipeline's deployment for fine-tuning, in a pool that nobody polls."""
    deploy(config, None, show=lambda _: None, dry_run=False)
    yield client.read_deployment_by_name("finetune/portal")
    for name in ("finetune", "daily", "backfill"):
        client.delete_deployment(client.read_deployment_by_name(f"{name}/portal").id)


def runs_of(client, deployment) -> list:
    """The deployment's runs, oldest first."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
    return sorted(client.read_flow_runs(flow_run_filter=chosen), key=lambda run: run.created)


def test_a_pool_without_a_deployment_says_how_to_make_one(client, config, published):
    with pytest.raises(ConfigError, match=r"finetune/portal.*dayspring deploy portal"):
        fine_tune(open_workspace(config, "portal"), config, published, TRIGGER)


def test_a_pool_without_a_server_says_how_to_name_one(client, config, published):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ConfigError, match="PREFECT_API_URL is not set"),
    ):
        fine_tune(open_workspace(config, "portal"), config, published, TRIGGER)


def test_a_run_that_no_worker_takes_in_time_is_cancelled_and_the_error_says_how_to_start_one(
    client, config, deployment, published
):
    with pytest.raises(OrchestrationError) as told:
        fine_tune(open_workspace(config, "portal"), config, published, TRIGGER)
    message = str(told.value)
    assert "No worker of the pool gpu" in message and "0.1 minutes" in message
    assert "prefect worker start --pool gpu" in message
    assert [run.state.name for run in runs_of(client, deployment)] == ["Cancelled"]


def test_a_run_whose_worker_died_is_marked_crashed_and_another_is_started(
    client, config, deployment, published
):
    """Prefect goes on calling the first run Running; the lease says that its process is gone."""
    from prefect.states import Running

    workspace = open_workspace(config, "portal")
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from tasks.workspace import open_workspace\n"
            "with open_workspace(Path(sys.argv[1]), 'portal').training(): time.sleep(600)",
            str(config),
        ]
    )
    while workspace.leases.holder(TRAINING) is None:
        time.sleep(0.1)

    def take_the_run_and_die() -> None:
        while not (runs := runs_of(client, deployment)):
            time.sleep(0.1)
        client.set_flow_run_state(runs[0].id, Running(), force=True)
        time.sleep(2.5)  # so that the waiting side has seen the worker alive
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()

    from threading import Thread

    other = Thread(target=take_the_run_and_die)
    other.start()
    with pytest.raises(OrchestrationError, match="No worker of the pool gpu"):
        fine_tune(workspace, config, published, TRIGGER)
    other.join()
    assert [run.state.name for run in runs_of(client, deployment)] == ["Crashed", "Cancelled"]


def test_a_repeat_of_the_day_waits_for_the_run_that_it_left_and_not_for_another(
    client, config, deployment, published
):
    from flows.hand_over import _mark_crashed, _start

    workspace = open_workspace(config, "portal")
    first = _start(workspace, published, TRIGGER)
    assert _start(workspace, published, TRIGGER).id == first.id
    later = published.model_copy(update={"day": DAYS[0] + timedelta(days=1)})
    assert _start(workspace, later, TRIGGER).id != first.id
    _mark_crashed(first)
    assert _start(workspace, published, TRIGGER).id != first.id


def test_a_worker_that_was_taken_for_dead_and_comes_back_registers_nothing(
    client, config, published, monkeypatch
):
    import flows.finetune as module
    from tasks.registry.lease import _Table

    def train_while_another_takes_over(workspace, _: Published) -> None:
        """What a long pause of this process looks like: its row is another's when it wakes."""
        ours = workspace.leases.holder(TRAINING)
        theirs = replace(ours, term=ours.term + 1, beat=0, machine="elsewhere")
        assert _Table(workspace.leases.uri).swap(ours, theirs)

    monkeypatch.setattr(module, "train", train_while_another_takes_over)
    with pytest.raises(RegistryError, match="another run took it over"):
        module.finetune("portal", config, published, TRIGGER)
    assert versions(open_workspace(config, "portal")) == []
