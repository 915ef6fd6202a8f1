"""A backfill killed with SIGKILL in every stage, and continued each time, against an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from portal import DAYS, write_config

from tasks.workspace import Workspace, open_workspace

MOMENTS = [
    "function:tasks.interactions.items:publish_items",
    "function:tasks.interactions.stage:stage_day",
    "function:tasks.quality.validate:validate_day",
    "function:tasks.interactions.publish:_publish_quarantine",
    "function:tasks.interactions.publish:_publish_interactions",
    "event:published",
    "event:scored",
    "event:profiled",
    "event:triggered",
    "function:tasks.recommender.store:save_ranker",
    "event:trained",
    "event:judged",
    "event:promoted",
    "function:tasks.report.page:render_index",
    "event:closed",
]
"""In the order of a day; after each the next run continues, until one comes through."""

OWN_TO_A_RUN = {"seconds", "train_seconds", "rows_per_second", "live_since", "folder"}
"""Evidence that says how long a run took, when and where: it differs between any two runs."""


def run(moment: str, config: Path, server: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parent / "killed_run.py"
    return subprocess.run(
        [sys.executable, str(script), moment, str(config), str(DAYS[0]), str(DAYS[-1])],
        env={**os.environ, "PREFECT_API_URL": server},
        capture_output=True,
        text=True,
    )


def table(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """The table's rows in an order of their own, without the time of ingest."""
    rows: pa.Table = workspace.lake.read(name)
    kept = [column for column in rows.column_names if column not in {"ingest_time", "folder"}]
    return sorted(rows.select(kept).to_pylist(), key=lambda row: repr(sorted(row.items())))


def journal(workspace: Workspace) -> list[tuple[str, ...]]:
    return sorted(
        (entry.key, entry.event, str(entry.model_version), json.dumps(_lasting(entry.evidence)))
        for entry in workspace.journal.entries()
    )


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in OWN_TO_A_RUN}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def api_url(prefect_server) -> str:
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_in_every_stage_leave_what_an_undisturbed_run_leaves(tmp_path, portal_logs, api_url):
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    smooth_config = write_config(tmp_path / "undisturbed", portal_logs)
    killed_config = write_config(tmp_path / "killed", portal_logs)

    done = run("never", smooth_config, api_url)
    assert done.returncode == 0, done.stderr
    for moment in MOMENTS:
        died = run(moment, killed_config, api_url)
        assert died.returncode == -signal.SIGKILL, (moment, died.stderr)
    done = run("never", killed_config, api_url)
    assert done.returncode == 0, done.stderr

    smooth = open_workspace(smooth_config, "portal")
    killed = open_workspace(killed_config, "portal")
    for name in ("interactions", "items", "quarantine", "item_hours"):
        assert table(killed, name) == table(smooth, name), name
    assert journal(killed) == journal(smooth)
    champion = smooth.registry.champion()
    assert champion is not None
    assert killed.registry.champion().version == champion.version
    assert len(versions(killed)) == len(versions(smooth)) == len(DAYS)


def versions(workspace: Workspace) -> list[str]:
    from tasks.registry.store import open_client

    client = open_client(workspace.tracking_uri)
    return [v.version for v in client.search_model_versions(f"name='{workspace.registry.name}'")]
