import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from registries import child_environment

from tasks.errors import RegistryError
from tasks.registry.lock import held

HOLDER = """
import sys, time
from pathlib import Path
from tasks.registry.lock import held

with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_thread_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def hold() -> None:
        nonlocal inside, most
        with held(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1


def test_a_lock_names_its_holder_when_waiting_ends_and_is_free_once_the_holder_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "locks" / "portal.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    with (
        pytest.raises(RegistryError, match=f"held by process {holder.pid} on"),
        held(path, timeout_seconds=0.1),
    ):
        pass

    holder.kill()
    holder.wait()
    with held(path, timeout_seconds=0.1):
        pass


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / "lock"):
        raise ZeroDivisionError
    with held(tmp_path / "lock", timeout_seconds=0.1):
        pass
