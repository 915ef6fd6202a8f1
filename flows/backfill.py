"""A range of days, in order; their logs may be read ahead of their turn."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.daily import daily
from flows.failures import TELLING
from flows.scheduled import turn_seconds
from flows.server import wait_for_server
from tasks.errors import ConfigError
from tasks.ingest import ingest, read_ahead
from tasks.plan import DayPlan, ingested_record, plan_days
from tasks.publish import publish
from tasks.validate import validate
from tasks.workspace import Workspace, open_workspace

LEAST_MEMORY_GIB = 0.25
"""Below this the ingest engine spills from the start."""


@flow(
    name="backfill",
    flow_run_name="{pipeline}-{first}-{last}",
    persist_result=False,
    task_runner=ThreadPoolTaskRunner(),
    **TELLING,
)
def backfill(
    pipeline: str,
    first: date,
    last: date,
    config_file: Path,
    force: bool = False,
    only_ingest: bool = False,
    parallel: int = 0,
) -> list[dict[str, Any]]:
    """Adapt `pipeline` to each day from `first` to `last`, in order, skipping complete ones.

    While a day's turn lasts, the logs of the `parallel` next ones are read. With `only_ingest` the
    days are published and not adapted to. Returns the days' records. A day that fails ends the
    range: the next would learn without it.
    """
    workspace = open_workspace(config_file, pipeline)
    with workspace.alone(turn_seconds()):
        plans = plan_days(workspace, first, last, force=force, only_ingest=only_ingest)
        in_turn = _read_ahead_of(workspace, plans, parallel)
        if only_ingest:
            return [plan.record or _publish(workspace, plan.day) for plan in in_turn]
        return [plan.record or _adapt(pipeline, plan.day, config_file, force) for plan in in_turn]


def _adapt(pipeline: str, day: date, config_file: Path, force: bool) -> dict[str, Any]:
    wait_for_server()
    return daily(pipeline, day, config_file, force)


def _publish(workspace: Workspace, day: date) -> dict[str, Any]:
    staged = ingest(workspace, day)
    validate(workspace, staged)
    published = publish(workspace, staged, False)
    return ingested_record(workspace, published.model_dump(mode="json"))


def _read_ahead_of(
    workspace: Workspace, plans: Sequence[DayPlan], parallel: int
) -> Iterator[DayPlan]:
    """The plans in order, each once its logs are read, the next days' being read meanwhile."""
    unread = [plan.day for plan in plans if plan.record is None]
    share = _memory_of_one(workspace, parallel)
    reading = {}
    for plan in plans:
        if parallel and plan.record is None:
            turn = unread.index(plan.day)
            for day in unread[turn : turn + parallel + 1]:
                if day not in reading:
                    reading[day] = read_ahead.submit(workspace, day, share)  # type: ignore[attr-defined]
            # What cannot be read stops the day in its own turn, with the reason.
            reading[plan.day].wait()
        yield plan


def _memory_of_one(workspace: Workspace, parallel: int) -> float:
    """GiB for each of the readings ahead, which take as much together as the day in turn may."""
    memory_gib = workspace.config.compute.memory_gib
    if parallel and memory_gib / parallel < LEAST_MEMORY_GIB:
        raise ConfigError(
            f"--parallel {parallel} leaves {memory_gib / parallel:.2g} GiB of compute.memory_gib "
            f"{memory_gib:g} to each reading, which needs {LEAST_MEMORY_GIB}: choose at most "
            f"{int(memory_gib / LEAST_MEMORY_GIB)}, or raise compute.memory_gib."
        )
    return memory_gib / max(parallel, 1)
