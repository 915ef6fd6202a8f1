"""A lock that ends with the process that holds it: a killed run never blocks the next one."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.errors import RegistryError

POLL_SECONDS = 0.02


@contextmanager
def held(path: Path, *, timeout_seconds: float = 60.0) -> Iterator[None]:
    """Hold the lock file at `path`: one holder among all threads and processes that open it.

    The kernel drops the lock when its holder dies, however it dies. The file stays: removing it
    would let two holders lock two different files of one name.

    Raises:
        RegistryError: another held it for all of `timeout_seconds`; the message names the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(descriptor, path, timeout_seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield
    finally:
        # Closing is not enough: a forked child may still hold a copy of the descriptor.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = path.read_text(errors="replace") or "another process"
                raise RegistryError(
                    f"{path} was held by {holder} for more than {timeout_seconds:g} s. "
                    "Wait for that run to finish, or stop it, then repeat this one."
                ) from None
            time.sleep(POLL_SECONDS)
