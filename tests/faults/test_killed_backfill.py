"""A backfill killed with SIGKILL between stages and at random, and continued: the script, in small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from backfills import STAGES


@pytest.mark.slow
def test_kills_leave_what_an_undisturbed_run_leaves():
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, str(script), "--days=1", "--every=5", "--moments=1", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)
    assert [case["kills"] for case in cases if "boundaries" in case["name"]] == [len(STAGES[::5])]
    for case in cases:
        assert case["rows_lost"] == case["rows_doubled"] == 0
        assert case["faults"] == []
