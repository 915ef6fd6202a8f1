"""What `dayspring prune` does."""

from pathlib import Path
from typing import Any

from flows.runs import prepared
from tasks.config_file import load_config
from tasks.prune import prune


def prune_all(config_file: Path, pipeline: str | None, *, dry_run: bool) -> list[dict[str, Any]]:
    """Prune one pipeline, or all."""
    names = [pipeline] if pipeline else list(load_config(config_file).pipelines)
    return [prune(prepared(config_file, name), dry_run=dry_run) for name in names]
