"""What infra/local decides before it starts anything."""

import os
import stat
import time
from pathlib import Path
from signal import SIGKILL

import psutil
import pytest
from unit.infra.descriptions import local

from infra.local import postgres, processes, state
from infra.local.errors import StackError
from infra.local.ports import free_ports
from infra.local.processes import Command, Recorded


def test_a_process_that_was_given_a_dead_ones_id_is_not_it() -> None:
    started = psutil.Process().create_time()
    assert Recorded(os.getpid(), started).process() == psutil.Process()
    assert Recorded(os.getpid(), started - 60).process() is None


def test_a_process_that_ended_is_not_there() -> None:
    process = psutil.Popen(["true"], close_fds=True)
    recorded = Recorded(process.pid, process.create_time())
    process.wait()
    assert recorded.process() is None


def test_a_child_that_left_its_session_is_ended_after_its_parent_was_killed(tmp_path: Path) -> None:
    script = "setsid sleep 600 & echo started; sleep 600"
    command = Command(["sh", "-c", script], dict(os.environ), tmp_path)
    log = tmp_path / "log"
    first = processes.start(command, "test/orphans", log=log, record=tmp_path / "record")
    while not log.read_text():
        time.sleep(0.01)
    os.kill(first.pid, SIGKILL)
    assert processes.members("test/orphans", command)
    assert processes.read_record(tmp_path / "record") == first
    processes.end(first, "test/orphans", command, patience_seconds=1)
    assert processes.members("test/orphans", command) == []


def test_free_ports_differ_and_no_outgoing_connection_is_given_them() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768  # Linux' first; macOS' is 49,152


def test_a_taken_default_port_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "is_free", lambda port: port != 4200)
    with pytest.raises(StackError, match=r"prefect 4200\..*--ports free"):
        state.load_or_create(tmp_path, default_ports=True)
    assert list(tmp_path.iterdir()) == []


def test_ports_and_credentials_are_drawn_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    drawn = state.load_or_create(tmp_path, default_ports=False)
    assert state.load_or_create(tmp_path, default_ports=False) == drawn
    other = tmp_path / "other"
    other.mkdir()
    assert state.load_or_create(other, default_ports=False).secret_key != drawn.secret_key
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600


def test_missing_postgresql_is_told_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)
    with pytest.raises(StackError, match="apt-get install postgresql"):
        postgres.find_programs()


def test_what_the_operator_set_for_other_servers_reaches_no_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    foreign = {"PREFECT_API_KEY", "MLFLOW_TRACKING_TOKEN", "AWS_SESSION_TOKEN", "PGPASSWORD"}
    for name in foreign:
        monkeypatch.setenv(name, "foreign")
    commands = [service.command() for service in local().values()]
    assert len(commands) == 6
    assert all("foreign" not in command.environment.values() for command in commands)
