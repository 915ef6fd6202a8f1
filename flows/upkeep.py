"""What `dayspring prune` does."""

from pathlib import Path
from typing import Any

from flows.runs import chosen
from tasks.prune import prune


def prune_all(config_file: Path, pipeline: str | None, *, dry_run: bool) -> list[dict[str, Any]]:
    """Prune one pipeline, or all."""
    return [prune(each, dry_run=dry_run) for each in chosen(config_file, pipeline)]
