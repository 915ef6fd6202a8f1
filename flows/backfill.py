"""A range of days, in order."""

from datetime import date
from pathlib import Path
from typing import Any

from prefect import flow

from flows.daily import daily
from flows.failures import TELLING
from flows.scheduled import turn_seconds
from tasks.plan import plan_days
from tasks.workspace import open_workspace


@flow(name="backfill", flow_run_name="{pipeline}-{first}-{last}", persist_result=False, **TELLING)
def backfill(
    pipeline: str, first: date, last: date, config_file: Path, force: bool = False
) -> list[dict[str, Any]]:
    """Adapt `pipeline` to each day from `first` to `last`, in order, skipping complete ones.

    Returns the days' records. A day that fails ends the range: the next would learn without it.
    """
    workspace = open_workspace(config_file, pipeline)
    with workspace.alone(turn_seconds()):
        plans = plan_days(workspace, first, last, force=force)
        return [plan.record or daily(pipeline, plan.day, config_file, force) for plan in plans]
