"""Processes that outlive the one that started them, found again by mark, id and start time.

A pid alone may since have been given to another program, so it counts only with its start time.
Children are found by a mark in their environment, which they inherit however often they leave
their parent's session, and which stays when the parent was killed.
"""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM, Signals

import psutil

from infra.local.errors import StackError

MARK = "DAYSPRING_STACK_SERVICE"
"""The environment variable that says whose process it is."""

# A start time is counted from boot; reading it twice may differ by the clock's last digit.
_SAME_START_SECONDS = 0.05

_ROUNDS = 20
"""How often a service that keeps forking is killed before we give up."""


@dataclass(frozen=True)
class Command:
    """How to start one service, how to ask it to end, and how to know its processes."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    user: tuple[int, int] | None = None
    """User and group id to run as; None is ourselves."""
    ending: Signals = SIGTERM
    owns_folder: bool = False
    """Whether whatever works in `folder` is the service's, mark or not."""


@dataclass(frozen=True)
class Recorded:
    """A service's first process, written down so that any later command finds it."""

    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """This very process if it runs: not a zombie, not another that was given its id."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_SECONDS
        except psutil.NoSuchProcess:
            return None
        return process if same and _runs(process) else None


def start(command: Command, mark: str, *, log: Path, record: Path) -> Recorded:
    """Start `command` in a session of its own, appending to `log`."""
    user, group = command.user or (None, None)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command.arguments,
            env={**command.environment, MARK: mark},
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
    recorded = Recorded(process.pid, psutil.Process(process.pid).create_time())
    # It is found by its record from now on; a Popen that is dropped unfinished would warn.
    process.returncode = 0
    unfinished = record.with_suffix(".tmp")
    unfinished.write_text(json.dumps(vars(recorded)))
    unfinished.replace(record)
    return recorded


def read_record(record: Path) -> Recorded | None:
    """The process written to `record`; None where none was."""
    try:
        return Recorded(**json.loads(record.read_text()))
    except FileNotFoundError:
        return None


def members(mark: str, command: Command) -> list[psutil.Process]:
    """Every live process of the service, its first one's children and orphans included."""
    return [process for process in psutil.process_iter() if _belongs(process, mark, command)]


def _belongs(process: psutil.Process, mark: str, command: Command) -> bool:
    try:
        if command.owns_folder:
            return bool(process.cwd() == str(command.folder))
        return bool(process.environ().get(MARK) == mark)
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        # It has ended, or is another user's and so none of ours.
        return False


def end(recorded: Recorded | None, mark: str, command: Command, *, patience_seconds: float) -> None:
    """Ask the service to end; kill what is left of it after `patience_seconds`."""
    first = recorded.process() if recorded else None
    if first:
        first.send_signal(command.ending)
        _wait_until_ended([first], patience_seconds)
    kill(mark, command)


def kill(mark: str, command: Command) -> None:
    """SIGKILL every process of the service.

    Raises:
        StackError: some are still there, which only a hanging device or another user's can be.
    """
    for _ in range(_ROUNDS):
        left = members(mark, command)
        if not left:
            return
        for process in left:
            _kill_one(process)
        _wait_until_ended(left, seconds=5)
    raise StackError(
        f"{mark} still has the processes {[process.pid for process in left]} after {_ROUNDS} kills; "
        "look at them with ps, and run infra/local/down again."
    )


def _kill_one(process: psutil.Process) -> None:
    # It may end by itself in between.
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _wait_until_ended(ending: Sequence[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(_runs(process) for process in ending) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in ending:
        # Reaps our own children; a parent that reaps nothing, as in many containers, keeps zombies.
        with suppress(psutil.TimeoutExpired):
            process.wait(timeout=0)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
