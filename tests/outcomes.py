"""What a pipeline's runs leave, without what differs between any two runs: for tests that compare."""

import json
from typing import Any

import pyarrow as pa

from tasks.workspace import Workspace

TABLES = ("interactions", "items", "quarantine", "item_hours")

OWN_TO_A_RUN = {"seconds", "train_seconds", "rows_per_second", "live_since", "folder"}
"""Evidence that says how long a run took, when and where: it differs between any two runs."""


def assert_same_outcome(one: Workspace, other: Workspace) -> None:
    """Both have the same rows, journal, champion and number of versions, and at least one champion."""
    for name in TABLES:
        assert table(one, name) == table(other, name), name
    assert journal(one) == journal(other)
    champion = other.registry.champion()
    assert champion is not None
    assert one.registry.champion().version == champion.version
    assert len(versions(one)) == len(versions(other))


def table(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """The table's rows in an order of their own, without the time of ingest."""
    rows: pa.Table = workspace.lake.read(name)
    kept = [column for column in rows.column_names if column not in {"ingest_time", "folder"}]
    return sorted(rows.select(kept).to_pylist(), key=lambda row: repr(sorted(row.items())))


def journal(workspace: Workspace) -> list[tuple[str, ...]]:
    """The journal's entries, sorted by key, without evidence that is a run's own."""
    return sorted(
        (entry.key, entry.event, str(entry.model_version), json.dumps(_lasting(entry.evidence)))
        for entry in workspace.journal.entries()
    )


def versions(workspace: Workspace) -> list[str]:
    """The model versions in the registry."""
    from tasks.registry.store import open_client

    client = open_client(workspace.tracking_uri)
    return [v.version for v in client.search_model_versions(f"name='{workspace.registry.name}'")]


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in OWN_TO_A_RUN}
    return [_lasting(each) for each in value] if isinstance(value, list) else value
