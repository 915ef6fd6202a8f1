"""A backfill killed with SIGKILL in every stage, and continued each time, against an undisturbed one."""

import signal

import pytest
from backfills import STAGES, run
from outcomes import assert_same_outcome, versions
from portal import DAYS, write_config

from tasks.workspace import open_workspace


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_kills_in_every_stage_leave_what_an_undisturbed_run_leaves(
    tmp_path, portal_logs, server, smooth
):
    config = write_config(tmp_path, portal_logs)
    for moment in STAGES:
        died = run(moment, config, DAYS, server)
        assert died.returncode == -signal.SIGKILL, (moment, died.stderr)
    done = run("never", config, DAYS, server)
    assert done.returncode == 0, done.stderr

    killed = open_workspace(config, "portal")
    assert_same_outcome(killed, smooth)
    assert len(versions(killed)) == len(DAYS)
    # So one of the kills was between the move of the alias and its entry.
    assert killed.journal.moves()[0].day == DAYS[0]
