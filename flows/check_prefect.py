"""Checks of the Prefect server, where PREFECT_API_URL names one: runs that are stuck, or that wait.

Without a server each run brings its own, which ends with it and can leave nothing stuck.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flows.server import prefect_client
from tasks.check_pipeline import is_busy
from tasks.health.finding import Finding
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

PURPOSE = "looking for stuck runs needs"

FLOWS = ("daily", "backfill", "finetune")
"""Flows of ours that hold a lease while they work."""

GRACE = timedelta(minutes=2)
"""A run that began or was due so short a time ago may not hold its lease, or have its worker, yet."""


def check_server() -> list[Finding]:
    """Whether the server answers, and how fast."""
    began = time.perf_counter()
    with prefect_client(PURPOSE) as client:
        client.hello()
    took = 1000 * (time.perf_counter() - began)
    where = urlsplit(os.environ["PREFECT_API_URL"]).hostname
    return [Finding("prefect", "note", f"Prefect's server on {where} answered in {took:,.0f} ms.")]


def check_runs(workspace: Workspace) -> list[Finding]:
    """Runs that Prefect believes are going on though nobody holds the pipeline, and late ones."""
    with prefect_client(PURPOSE) as client:
        runs = _open_runs(client, workspace.name)
    late = [run for run in runs if run.state and run.state.name == "Late"]
    found = [_late(workspace, late)] if late else []
    if is_busy(workspace):
        return found
    dead = [run for run in runs if _is_under_way(run)]
    return [*found, _dead(workspace, dead)] if dead else found


def deployment_of(pipeline: str) -> dict[str, str]:
    """Whether the server starts `pipeline` by itself: the deployment `daily/<pipeline>`, in words too."""
    from prefect.exceptions import ObjectNotFound

    try:
        with prefect_client("a schedule needs") as client:
            found = client.read_deployment_by_name(f"daily/{pipeline}")
    except ObjectNotFound:
        return {"state": "missing", "words": "none; make it with dayspring deploy"}
    if found.paused or not any(schedule.active for schedule in found.schedules):
        return {"state": "paused", "words": f"daily/{pipeline} is paused: nothing starts it"}
    return {"state": "deployed", "words": f"daily/{pipeline} starts it"}


def _open_runs(client: "SyncPrefectClient", pipeline: str) -> "list[FlowRun]":
    """Our flows' runs of `pipeline` that have not ended and are due."""
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    open_types = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED]
    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=open_types)),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC) - GRACE),
        ),
        limit=200,
    )
    return [run for run in runs if run.parameters.get("pipeline") == pipeline]


def _is_under_way(run: "FlowRun") -> bool:
    from prefect.client.schemas.objects import StateType

    began = run.state is not None and datetime.now(UTC) - run.state.timestamp > GRACE
    return began and run.state_type in (StateType.RUNNING, StateType.PENDING)


def _late(workspace: Workspace, runs: "list[FlowRun]") -> Finding:
    pools = sorted({run.work_pool_name for run in runs if run.work_pool_name}) or ["cpu"]
    words = (
        f"{len(runs):,} runs of {workspace.name} are late: no worker took them ({runs[0].name})."
    )
    return Finding("prefect", "error", words, f"prefect worker start --pool {pools[0]}")


def _dead(workspace: Workspace, runs: "list[FlowRun]") -> Finding:
    words = (
        f"Prefect believes that {len(runs):,} runs of {workspace.name} are going on ({runs[0].name}), "
        "and no process holds its lease: their worker died."
    )

    def crash() -> str:
        from prefect.states import Crashed

        state = Crashed(message="Its process holds no lease any more; told by dayspring doctor.")
        with prefect_client(PURPOSE) as client:
            for run in runs:
                client.set_flow_run_state(run.id, state, force=True)
        return f"{len(runs):,} dead runs were marked as crashed"

    return Finding("prefect", "warning", words, f"dayspring doctor {workspace.name} --fix", crash)
