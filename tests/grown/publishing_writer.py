"""One of several processes that publish days and journal entries into one lake at the same moment.

Usage: publishing_writer.py CONFIG STAGING KEYS DAY...  Waits for a line on stdin, then publishes each
day, and records each of the comma-separated journal KEYS once.
"""

import sys
from datetime import date
from pathlib import Path

from tasks.errors import LakeError
from tasks.interactions.publish import publish_day
from tasks.interactions.stage import stage_day
from tasks.registry.journal import Outcome
from tasks.sources import source_of
from tasks.workspace import Workspace, open_workspace


def publish(workspace: Workspace, staging: Path, day: date) -> None:
    """Stage and publish; what a neighbour has published meanwhile is looked at again."""
    for _ in range(10):
        staged = stage_day(
            source_of(workspace.config.source), day, staging=staging, lake=workspace.lake
        )
        try:
            publish_day(workspace.lake, staged)
        except LakeError as error:
            if "Run the day again" not in str(error):
                raise
            continue
        return
    raise SystemExit(f"{day} was overtaken ten times")


def main(config: str, staging: str, keys: str, *days: str) -> None:
    workspace = open_workspace(Path(config), "portal")
    print("ready", flush=True)
    sys.stdin.readline()
    for day in days:
        publish(workspace, Path(staging), date.fromisoformat(day))
    for key in keys.split(","):
        workspace.journal.once(key, "noted", lambda: Outcome(reason=staging))


if __name__ == "__main__":
    main(*sys.argv[1:])
