"""A run whose Prefect server does not answer says so, and what to do."""

import os
import subprocess
import sys

import pytest
from portal import DAYS, write_config

from flows import server
from flows.server import wait_for_server
from infra.local.ports import free_ports
from tasks import stage
from tasks.errors import ServerUnavailable


def test_a_prefect_server_that_is_down_is_a_message_with_the_next_step(tmp_path):
    (port,) = free_ports(1)
    config = write_config(tmp_path, tmp_path / "logs")
    command = [sys.executable, "-m", "flows.cli", "run", "portal", "--day", str(DAYS[0])]
    done = subprocess.run(
        [*command, "--config", str(config)],
        env={**os.environ, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"dayspring: The Prefect server http://127.0.0.1:{port}/api is out of")
    assert "then repeat this command" in last
    assert "Traceback" not in done.stderr


def test_a_run_within_another_waits_for_the_server(prefect_server, monkeypatch):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    wait_for_server()  # there it is
    greet, asked = server._greet, []
    monkeypatch.setattr(server, "_greet", lambda: (asked.append(1), greet()))
    monkeypatch.setattr(stage, "PAUSES_SECONDS", [0.01, 0.01])
    (port,) = free_ports(1)
    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
        pytest.raises(ServerUnavailable, match="out of reach"),
    ):
        wait_for_server()
    assert len(asked) == 3
