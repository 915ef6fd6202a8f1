"""Run `dayspring backfill portal` with a fault at one chosen moment.

Usage: killed_run.py MOMENT CONFIG FIRST LAST. A moment is

    function:MODULE:NAME      killed, as by SIGKILL, right after that function did its work
    event:NAME|NAME           killed when one of these events has happened and is not yet recorded
    full:MODULE:NAME:FOLDER   the disk of FOLDER is full from after that function's work on
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any

FILLER = "filler"
"""The file that fills a disk: delete it, and there is space again."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill(folder: Path) -> None:
    """Take all the space that the folder's file system has left."""
    with (folder / FILLER).open("ab", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(1 << 16)):
            pass


def after(module: str, name: str, act: Callable[[], None]) -> None:
    """Let `act` follow on each return of the function."""
    home = importlib.import_module(module)
    function: Callable[..., Any] = getattr(home, name)

    @wraps(function)
    def followed(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        act()
        return result

    setattr(home, name, followed)


def die_before_recording(events: list[str]) -> None:
    """Let the process die when the journal is about to record one of `events`."""
    from tasks.registry.journal import Journal

    once = Journal.once

    def last(self: Journal, key: str, named: str, compute: Any) -> Any:
        if named in events and self.find(key) is None:
            compute()
            die()
        return once(self, key, named, compute)

    Journal.once = last  # type: ignore[method-assign]


def main(moment: str, config: str, first: str, last: str) -> None:
    kind, *rest = moment.split(":")
    if kind == "function":
        after(*rest, die)
    elif kind == "event":
        die_before_recording(rest[0].split("|"))
    elif kind == "full":
        module, name, folder = rest
        after(module, name, partial(fill, Path(folder)))
    from flows.cli import main as dayspring

    sys.argv = [
        "dayspring",
        "backfill",
        "portal",
        "--from",
        first,
        "--to",
        last,
        "--config",
        config,
    ]
    dayspring()


if __name__ == "__main__":
    main(*sys.argv[1:])
