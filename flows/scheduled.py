"""What a run asks of whoever started it: for which day it is, and how long it may wait its turn."""

from datetime import date, timedelta
from pathlib import Path

from prefect.runtime import deployment, flow_run

from tasks.config import zone
from tasks.workspace import Workspace, open_workspace

QUEUE_SECONDS = 24 * 3600.0
"""A worker's run waits for a backfill to end; after a day, its successor stands in line."""

REFUSAL_SECONDS = 1.0
"""A person at a terminal is told at once who is at work."""


def scheduled_day(workspace: Workspace) -> date:
    """The day before the run's scheduled time, in the source's time zone; a late start keeps it."""
    scheduled = flow_run.scheduled_start_time.astimezone(zone(workspace.config))
    return scheduled.date() - timedelta(days=1)


def turn_seconds() -> float:
    """How long this run waits for another run of its pipeline."""
    return QUEUE_SECONDS if deployment.id else REFUSAL_SECONDS


def daily_run_name() -> str:
    """The pipeline and the day, given or scheduled: a failure's notice reads the day from it."""
    given = flow_run.parameters
    workspace = open_workspace(Path(given["config_file"]), given["pipeline"])
    return f"{workspace.name}-{given.get('day') or scheduled_day(workspace)}"
