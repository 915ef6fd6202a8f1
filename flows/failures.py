"""Telling people that a run failed: hooks of Prefect, the same for every flow."""

import re
from pathlib import Path
from typing import Any

from tasks.models import name_of
from tasks.notices import words
from tasks.notify import tell
from tasks.workspace import Workspace, open_workspace


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell whom `notify` names for failures, unless the run is a part of one that will tell."""
    if flow_run.parent_task_run_id is not None:
        return
    given = flow_run.parameters
    workspace = open_workspace(Path(given["config_file"]), given["pipeline"])
    error = state.result(raise_on_failure=False)
    cause = str(error) if isinstance(error, BaseException) else str(state.message)
    message = words.failure(
        workspace.name,
        f"{flow.name} {flow_run.name}",
        cause or type(error).__name__,
        _champion(workspace),
        _repeat(workspace.name, flow.name, flow_run.name),
    )
    tell(workspace, "failure", message)


TELLING: dict[str, Any] = {"on_failure": [tell_failure], "on_crashed": [tell_failure]}
"""Arguments of `@flow`."""


def _champion(workspace: Workspace) -> str | None:
    try:
        return name_of(workspace.registry.standing()[0])
    except Exception:  # the registry may be what failed
        return None


def _repeat(pipeline: str, flow: str, run: str) -> str:
    """The command that continues; a run's name ends with its days."""
    days = re.findall(r"\d{4}-\d\d-\d\d", run)
    if flow == "review":
        return f"dayspring review {pipeline}"
    if flow == "backfill" and len(days) == 2:
        return f"dayspring backfill {pipeline} --from {days[0]} --to {days[1]}"
    return f"dayspring run {pipeline}" + (f" --day {days[-1]}" if days else "")
