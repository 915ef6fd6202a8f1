"""A run whose Prefect server does not answer says so, and what to do."""

import os
import subprocess
import sys

from portal import DAYS, write_config

from infra.local.ports import free_ports


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
