"""What `dayspring status` answers: every pipeline in one document."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.runs import chosen
from tasks.errors import ConfigError, PipelineError
from tasks.status import live_at, status_of


def statuses(
    config_file: Path, pipeline: str | None, now: datetime | None = None
) -> list[dict[str, Any]]:
    """How one pipeline stands, or all of them."""
    now = now or datetime.now(UTC)
    return [
        {**status_of(each, now), "deployment": _deployment(each.name)}
        for each in chosen(config_file, pipeline)
    ]


def live_models(config_file: Path, pipeline: str | None, time: str) -> list[dict[str, Any]]:
    """Which model was live at `time`, of one pipeline or of all.

    Raises:
        ConfigError: `time` is no ISO 8601 time.
    """
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        raise ConfigError(
            f"--at {time!r} is no ISO 8601 time; write one such as 2026-03-04T09:30 (in the source's "
            "time zone) or 2026-03-04T09:30:00+01:00."
        ) from None
    return [live_at(each, moment) for each in chosen(config_file, pipeline)]


def _deployment(pipeline: str) -> dict[str, str]:
    """Whether a server starts the pipeline by itself; Prefect is only imported if one is named."""
    if not os.environ.get("PREFECT_API_URL"):
        return {"state": "no server", "words": "none: PREFECT_API_URL names no server"}
    from flows.check_prefect import deployment_of

    try:
        return deployment_of(pipeline)
    except PipelineError as error:
        return {"state": "unknown", "words": str(error)}
