"""Six versions, of which pruning may remove three, in any registry and lake."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from portal import FIRST_DAY

from tasks.interactions.schema import ITEM_HOURS
from tasks.registry.journal import Outcome
from tasks.workspace import Workspace

NOW = datetime.now(UTC)
RETENTION = {"versions": 1, "rollback_days": 30, "delta_days": 30}
PROMOTED_DAYS_AGO = {"1": 200, "2": 100, "4": 20}
"""v2 was live until 20 days ago; v3 and v5 never were."""

REMOVED = ["1", "3", "5"]
KEPT = {"6": "challenger", "4": "champion", "2": "live before the champion"}


def furnish(workspace: Workspace, ranker: Path, *, grow_old: Callable[[str], None]) -> None:
    """Register the versions, each trained on its own version of item_hours.

    Args:
        ranker: where the zero-shot ranker is saved for them.
        grow_old: makes the table of four of them as old as if nobody had written for 40 days.
    """
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.store import save_ranker

    save_ranker(zero_shot("all-MiniLM-L6-v2"), ranker)
    for number in range(1, 7):
        _publish(workspace, number)
        if number == 5:
            grow_old(workspace.lake.uri("item_hours"))
        _register(workspace, ranker, number)
        if days := PROMOTED_DAYS_AGO.get(str(number)):
            _promote(workspace, str(number), NOW - timedelta(days=days))


def hours_of(workspace: Workspace, version: str) -> int:
    """What the version was trained on, read at the state of the table that it names."""
    tags = workspace.registry.version(version).tags
    state = json.loads(tags["data_versions"])["item_hours"]
    return workspace.lake.read("item_hours", version=state)["impressions"][0].as_py()


def _publish(workspace: Workspace, number: int) -> None:
    hour = datetime(2026, 3, 2, 12, tzinfo=UTC)
    row = {"event_date": FIRST_DAY, "hour": hour, "item_id": "n1", "impressions": number}
    rows = pa.Table.from_pylist([{**row, "clicks": 0}], schema=ITEM_HOURS)
    lake = workspace.lake
    lake.replace_day("item_hours", FIRST_DAY, rows, app_id="hours", app_version=number)


def _register(workspace: Workspace, ranker: Path, number: int) -> None:
    trained = datetime(2026, 3, number, tzinfo=UTC)
    workspace.registry.register(
        ranker,
        fingerprint=f"f{number}",
        loader_module="tasks.recommender.pyfunc",
        tags={
            "data_versions": json.dumps({"item_hours": workspace.lake.version("item_hours")}),
            "trained_through": trained.isoformat(),
        },
        params={},
        metrics={},
    )


def _promote(workspace: Workspace, version: str, at: datetime) -> None:
    live = workspace.registry.champion()
    workspace.registry.promote(
        version, compared_with=live.version if live else None, reason="gain", evidence={}
    )
    moved = Outcome("gain", model_version=version, evidence={"live_since": at.isoformat()})
    workspace.journal.once(f"{version}/promoted", "promoted", lambda: moved)
