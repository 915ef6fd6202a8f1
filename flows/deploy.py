"""pipelines.yaml as Prefect deployments: what there should be, what differs, and making it so.

A deployment belongs to the pipelines file that its parameter `config_file` names. Only those of the
file at hand are changed or removed, so several files may share a server.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.server import prefect_client
from tasks.config import Pipeline
from tasks.config_file import load_config, load_pipeline
from tasks.environment import WORKER_ENVIRONMENT, keep_state_under
from tasks.errors import ConfigError, OrchestrationError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.deployments.runner import RunnerDeployment

TAG = "dayspring"
"""What every deployment of ours is tagged with, besides `pipeline:<name>`."""

CPU_POOL = "cpu"

RUNS_AT_ONCE = {CPU_POOL: 4}
"""Limit of a pool when we create it; another pool fine-tunes, one run at a time fills a card."""

PURPOSE = "deployments need"


@dataclass(frozen=True)
class Deployable:
    """A flow that each pipeline has a deployment of."""

    flow: str
    """Its module path: workers import the installed package, on this machine or in an image."""
    pool: Callable[[Pipeline], str] = lambda _: CPU_POOL
    """The work pool that runs it; empty: the pipeline needs no such deployment."""
    scheduled: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Besides the pipeline and its file; what is missing must be given to each run."""


DEPLOYABLES = (
    Deployable("flows.daily.daily", scheduled=True, parameters={"day": None}),
    Deployable("flows.backfill.backfill"),
    Deployable("flows.finetune.finetune", pool=lambda pipeline: pipeline.compute.pool),
    Deployable(
        "flows.review.review",
        pool=lambda pipeline: CPU_POOL if pipeline.promote.approval == "manual" else "",
    ),
)

Action = Literal["create", "change", "remove", "keep"]


@dataclass(frozen=True)
class Change:
    """One work pool or deployment: what is to be done with it, and why."""

    kind: Literal["pool", "deployment"]
    name: str
    action: Action
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Old and new value of what differs."""

    def to_json(self) -> dict[str, Any]:
        """The change as `deploy --json` prints it."""
        fields = {name: {"from": old, "to": new} for name, (old, new) in self.fields.items()}
        return {"kind": self.kind, "name": self.name, "action": self.action, "fields": fields}


def deploy(
    config_file: Path, pipeline: str | None, *, show: Callable[[list[Change]], None], dry_run: bool
) -> list[Change]:
    """Let the server's deployments be what `config_file` says; `show` gets the difference first.

    Raises:
        ConfigError: the file is wrong, no server is named, or a name belongs to another file.
        OrchestrationError: the server is out of reach, or refuses.
    """
    config = load_config(config_file)
    keep_state_under(Path(config.home))
    chosen = {pipeline: load_pipeline(config, pipeline)} if pipeline else config.pipelines
    wanted = _wanted(chosen, config_file)
    with prefect_client(PURPOSE) as client:
        pools = _missing_pools(client, wanted)
        existing = {name: _read(client, name) for name in wanted}
        _refuse_foreign(config_file, existing)
        _keep_pauses(wanted, existing)
        stale = _stale(client, config_file, pipeline, set(wanted))
        changes = [
            *(Change("pool", name, "create", {"runs at once": (None, n)}) for name, n in pools),
            *(_compare(name, wanted[name], existing[name]) for name in wanted),
            *(Change("deployment", name, "remove") for name in stale),
        ]
        show(changes)
        if not dry_run:
            _apply(client, changes, wanted, stale)
    return changes


def _wanted(pipelines: Mapping[str, Pipeline], config_file: Path) -> "dict[str, RunnerDeployment]":
    """The deployments that the file asks for, by full name."""
    deployments = [
        _describe(deployable, name, pipeline, config_file)
        for name, pipeline in pipelines.items()
        for deployable in DEPLOYABLES
        if deployable.pool(pipeline)
    ]
    return {deployment.full_name: deployment for deployment in deployments}


def _describe(
    deployable: Deployable, name: str, pipeline: Pipeline, config_file: Path
) -> "RunnerDeployment":
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.deployments.runner import EntrypointType
    from prefect.schedules import Cron

    module, _, function = deployable.flow.rpartition(".")
    cron = Cron(pipeline.schedule.cron, timezone=pipeline.schedule.time_zone)
    return getattr(import_module(module), function).to_deployment(
        name,
        entrypoint_type=EntrypointType.MODULE_PATH,
        schedules=[cron] if deployable.scheduled else [],
        # A run that comes while another of its kind works waits in the queue.
        concurrency_limit=ConcurrencyLimitConfig(limit=1),
        parameters={
            "pipeline": name,
            "config_file": str(config_file),
            **deployable.parameters,
        },
        tags=[TAG, f"pipeline:{name}"],
        version=installed_version("dayspring"),
        work_pool_name=deployable.pool(pipeline),
        job_variables={"env": WORKER_ENVIRONMENT},
    )


def _missing_pools(
    client: "SyncPrefectClient", wanted: "Mapping[str, RunnerDeployment]"
) -> list[tuple[str, int]]:
    """Pools that are named but not there, with how many runs each may have at once."""
    named = sorted({str(deployment.work_pool_name) for deployment in wanted.values()})
    there = {pool.name for pool in client.read_work_pools()}
    return [(name, RUNS_AT_ONCE.get(name, 1)) for name in named if name not in there]


def _read(client: "SyncPrefectClient", full_name: str) -> "DeploymentResponse | None":
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        return None


def _owner(deployment: "DeploymentResponse") -> str | None:
    """The pipelines file that the deployment was made from; None if it is not ours."""
    return deployment.parameters.get("config_file") if TAG in deployment.tags else None


def _refuse_foreign(config_file: Path, existing: "Mapping[str, DeploymentResponse | None]") -> None:
    """A deployment of a wanted name that another file, or another tool, made is left alone."""
    foreign = [
        f"{name} is there already, from {_owner(found) or 'another tool than dayspring'}. Rename "
        f"the pipeline in {config_file}, or remove it: prefect deployment delete '{name}'."
        for name, found in existing.items()
        if found is not None and _owner(found) != str(config_file)
    ]
    if foreign:
        raise ConfigError("\n".join([*foreign, "Nothing was deployed."]))


def _keep_pauses(
    wanted: "Mapping[str, RunnerDeployment]",
    existing: "Mapping[str, DeploymentResponse | None]",
) -> None:
    """A schedule that a person has switched off stays off, whatever else changes."""
    for name, deployment in wanted.items():
        found = existing[name]
        if found is not None and found.schedules:
            active = all(schedule.active for schedule in found.schedules)
            for schedule in deployment.schedules or []:
                schedule.active = active


def _stale(
    client: "SyncPrefectClient", config_file: Path, pipeline: str | None, wanted: set[str]
) -> "dict[str, DeploymentResponse]":
    """Deployments made from this file, of one pipeline or of all, that it no longer asks for."""
    flows: dict[Any, str] = {}
    stale = {}
    for deployment in _tagged(client, f"pipeline:{pipeline}" if pipeline else TAG):
        if _owner(deployment) != str(config_file):
            continue
        if deployment.flow_id not in flows:
            flows[deployment.flow_id] = client.read_flow(deployment.flow_id).name
        full_name = f"{flows[deployment.flow_id]}/{deployment.name}"
        if full_name not in wanted:
            stale[full_name] = deployment
    return stale


def _tagged(client: "SyncPrefectClient", tag: str) -> "Iterator[DeploymentResponse]":
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[tag]))
    page, offset = 200, 0
    while found := client.read_deployments(deployment_filter=tagged, limit=page, offset=offset):
        yield from found
        offset += page


def _compare(
    name: str, wanted: "RunnerDeployment", existing: "DeploymentResponse | None"
) -> Change:
    new = _facts(wanted)
    if existing is None:
        shown = ("work pool", "schedule")
        return Change("deployment", name, "create", {k: (None, new[k]) for k in shown if new[k]})
    old = _facts(existing)
    differing = {key: (old[key], new[key]) for key in new if old[key] != new[key]}
    return Change("deployment", name, "change" if differing else "keep", differing)


def _facts(deployment: "RunnerDeployment | DeploymentResponse") -> dict[str, Any]:
    """What a deployment is, in JSON types, whether described here or read from the server."""
    from prefect.deployments.runner import RunnerDeployment

    if isinstance(deployment, RunnerDeployment):
        limit = deployment.concurrency_limit
        schema = deployment._parameter_openapi_schema.model_dump(mode="json", exclude_unset=True)
    else:
        limit = getattr(deployment.global_concurrency_limit, "limit", None)
        schema = deployment.parameter_openapi_schema
    options = deployment.concurrency_options
    return {
        "work pool": deployment.work_pool_name,
        "schedule": ", ".join(_schedule_words(each) for each in deployment.schedules or []),
        "entry point": deployment.entrypoint,
        "parameters": deployment.parameters,
        "tags": sorted(deployment.tags),
        "runs at once": limit,
        "further runs": options and options.collision_strategy.value,
        "version": deployment.version,
        "description": deployment.description,
        "job variables": deployment.job_variables,
        "parameter schema": schema,
    }


def _schedule_words(entry: Any) -> str:
    schedule = entry.schedule
    cron = getattr(schedule, "cron", None)
    return f"{cron} {schedule.timezone}" if cron else str(schedule)


def _apply(
    client: "SyncPrefectClient",
    changes: list[Change],
    wanted: "Mapping[str, RunnerDeployment]",
    stale: "Mapping[str, DeploymentResponse]",
) -> None:
    for change in changes:
        if change.kind == "pool":
            _create_pool(client, change.name, change.fields["runs at once"][1])
        elif change.action in ("create", "change"):
            _put(wanted[change.name])
        elif change.action == "remove":
            client.delete_deployment(stale[change.name].id)


def _create_pool(client: "SyncPrefectClient", name: str, runs_at_once: int) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    pool = WorkPoolCreate(
        name=name,
        type=ProcessWorker.type,
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=runs_at_once,
        description="Made by dayspring deploy.",
    )
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:  # another deploy has made it meanwhile
        return


def _put(deployment: "RunnerDeployment") -> None:
    from prefect.deployments.runner import DeploymentApplyError

    try:
        deployment.apply()
    except DeploymentApplyError as error:
        raise OrchestrationError(
            f"The Prefect server refused {deployment.full_name}: {error}. What stands before it was "
            "deployed; repeat `dayspring deploy` once that is repaired."
        ) from error
