"""What a pipeline's runs leave, without what differs between any two runs: for tests that compare."""

import json
from typing import Any

import pyarrow as pa

from tasks.workspace import Workspace

TABLES = ("interactions", "items", "quarantine", "item_hours", "evidence")

OWN_TO_A_RUN = {"seconds", "train_seconds", "rows_per_second", "live_since", "folder"}
"""Evidence that says how long a run took, when and where: it differs between any two runs."""


def assert_same_outcome(found: Workspace, expected: Workspace) -> None:
    """Both have the same rows, journal, versions and champion, and at least one champion."""
    unlike = differences(found, expected)
    assert not unlike, "\n".join(unlike)
    assert champion(expected) is not None


def differences(found: Workspace, expected: Workspace) -> list[str]:
    """In words, what of tables, journal, versions and champion is not as expected."""
    faults = [
        f"table {name} differs" for name in TABLES if table(found, name) != table(expected, name)
    ]
    theirs, ours = journal(expected), journal(found)
    faults += [f"journal lacks {row}" for row in theirs if row not in ours]
    faults += [f"journal has instead {row}" for row in ours if row not in theirs]
    if versions(found) != versions(expected):
        faults.append(f"versions {versions(found)} instead of {versions(expected)}")
    if champion(found) != champion(expected):
        faults.append(f"champion {champion(found)} instead of {champion(expected)}")
    return faults


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
    """The numbers of the model versions in the registry, oldest first."""
    from tasks.registry.store import open_client

    client = open_client(workspace.tracking_uri)
    found = client.search_model_versions(f"name='{workspace.registry.name}'")
    # A database gives numbers, a server text.
    return sorted((str(each.version) for each in found), key=int)


def champion(workspace: Workspace) -> str | None:
    """The live version's number."""
    live = workspace.registry.champion()
    return live.version if live else None


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in OWN_TO_A_RUN}
    if isinstance(value, list):
        return [_lasting(each) for each in value if not _is_timed(each)]
    return value


def _is_timed(value: Any) -> bool:
    """Whether it is the guardrail whose figures are milliseconds."""
    return isinstance(value, dict) and value.get("rule") == "latency"
