"""Days through deployments, work pools and real workers, one of them killed, against days in place."""

import time
from collections.abc import Iterator

import pytest
from outcomes import assert_same_outcome, versions
from portal import DAYS as PORTAL_DAYS
from portal import write_config
from workers import Worker

from flows.deploy import deploy
from flows.hand_over import fine_tune
from flows.runs import run_range
from tasks.errors import ConfigError
from tasks.references import Published, Trigger
from tasks.workspace import TRAINING, Workspace, open_workspace

DAYS = PORTAL_DAYS[:2]
"""Each costs a worker's start and a fine-tuning worker's: the second loses its worker."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def in_place(tmp_path_factory, portal_logs, warm_home, workers) -> Workspace:
    """Days that are fine-tuned in their own process; the workers start beside it."""
    config = write_config(tmp_path_factory.mktemp("in_place"), portal_logs, home=warm_home)
    run_range(config, "portal", DAYS[0], DAYS[-1], force=False)
    return open_workspace(config, "portal")


@pytest.fixture(scope="module")
def workers(tmp_path_factory, prefect_server) -> Iterator[list[Worker]]:
    """One worker of the pool cpu, two of the pool gpu."""
    from prefect.settings import PREFECT_API_URL

    folder = tmp_path_factory.mktemp("workers")
    url = str(PREFECT_API_URL.value())
    names = ("cpu", "gpu-a", "gpu-b")
    started = [Worker(name.partition("-")[0], name, url, folder) for name in names]
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()


@pytest.fixture(scope="module")
def through_pools(tmp_path_factory, portal_logs, warm_home, workers) -> Iterator[Workspace]:
    """The same days as one run of `backfill/portal`; the worker that fine-tunes the second is killed."""
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment

    config = write_config(
        tmp_path_factory.mktemp("through_pools"),
        portal_logs,
        home=warm_home,
        compute={"pool": "gpu"},
    )
    deploy(config, None, show=lambda _: None, dry_run=False)
    workspace = open_workspace(config, "portal")
    span = {"first": str(DAYS[0]), "last": str(DAYS[-1])}
    run = run_deployment("backfill/portal", parameters=span, timeout=0)
    kill_the_one_who_fine_tunes(workspace, DAYS[1], workers)
    with get_client(sync_client=True) as client:
        while not (state := client.read_flow_run(run.id).state).is_final():
            time.sleep(0.5)
    assert state.is_completed(), (state, [worker.log.read_text() for worker in workers])
    yield workspace
    with get_client(sync_client=True) as client:  # the server is the session's
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)


def kill_the_one_who_fine_tunes(workspace: Workspace, day, workers: list[Worker]) -> None:
    """Wait until a worker holds the fine-tuning lease for `day`, and kill it then."""
    while not workspace.journal.entries(day=day, event="triggered"):
        time.sleep(0.2)
    while (holder := workspace.leases.holder(TRAINING)) is None or holder.released:
        time.sleep(0.02)
    (victim,) = [worker for worker in workers if worker.started(holder.pid)]
    assert victim.name.startswith("gpu")
    victim.kill()
    assert not workspace.journal.entries(day=day, event="trained")  # else it was killed too late


def finetune_runs() -> list:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("finetune/portal")
        chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
        return client.read_flow_runs(flow_run_filter=chosen)


def test_days_through_pools_with_a_worker_killed_leave_what_days_in_place_leave(
    in_place, through_pools
):
    assert_same_outcome(through_pools, in_place)
    assert len(versions(through_pools)) == len(DAYS)


def test_the_run_of_the_killed_worker_is_marked_crashed_and_another_did_its_work(through_pools):
    states = sorted(run.state.name for run in finetune_runs())
    assert states == ["Completed"] * len(DAYS) + ["Crashed"]
    (dead,) = [run for run in finetune_runs() if run.state.is_crashed()]
    assert "lease" in dead.state.message


def test_a_workers_result_is_a_reference_and_never_passes_through_prefect(through_pools):
    runs = [run for run in finetune_runs() if run.state.is_completed()]
    assert len(runs) == len(DAYS)
    assert all(getattr(run.state.data, "storage_key", None) is None for run in runs)


def test_what_a_workers_run_fails_with_is_what_the_operator_sees_and_is_not_repeated(
    through_pools, tmp_path
):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    missing = tmp_path / "pipelines.yaml"  # as on a worker with another disk
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("finetune/portal")
        parameters = {**deployment.parameters, "config_file": str(missing)}
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))
    (entry, *_) = through_pools.journal.entries(event="published")
    facts = {name: entry.evidence[name] for name in Published.model_fields}
    published = Published.model_validate({**facts, "attempt": 99})
    trigger = Trigger(retrain=True, reasons=["always"])
    with pytest.raises(ConfigError, match=f"^{missing} does not exist"):
        fine_tune(through_pools, missing, published, trigger)
    assert [run.state.is_failed() for run in finetune_runs()].count(True) == 1
