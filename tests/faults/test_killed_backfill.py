"""A backfill killed with SIGKILL in every stage, and continued each time, against an undisturbed one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from outcomes import assert_same_outcome, versions
from portal import DAYS, write_config

from tasks.workspace import open_workspace

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


def run(moment: str, config: Path, server: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parent / "killed_run.py"
    return subprocess.run(
        [sys.executable, str(script), moment, str(config), str(DAYS[0]), str(DAYS[-1])],
        env={**os.environ, "PREFECT_API_URL": server},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def api_url(prefect_server) -> str:
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value())


@pytest.mark.slow
@pytest.mark.timeout(2400)
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
    assert_same_outcome(killed, smooth)
    assert len(versions(smooth)) == len(DAYS)
