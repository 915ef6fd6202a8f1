"""Run a backfill that kills itself, as SIGKILL does, at one chosen moment.

Usage: killed_run.py MOMENT CONFIG FIRST LAST. A moment is `function:MODULE:NAME`, right after that
function did its work, or `event:NAME`, with the event's work done and its journal entry not written.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(module: str, name: str) -> None:
    """Let the process die when the function has returned for the first time."""
    home = importlib.import_module(module)
    function: Callable[..., Any] = getattr(home, name)

    @wraps(function)
    def last(*args: Any, **kwargs: Any) -> Any:
        function(*args, **kwargs)
        die()

    setattr(home, name, last)


def die_before_recording(event: str) -> None:
    """Let the process die when the journal is about to record `event`."""
    from tasks.registry.journal import Journal

    once = Journal.once

    def last(self: Journal, key: str, named: str, compute: Any) -> Any:
        if named == event and self.find(key) is None:
            compute()
            die()
        return once(self, key, named, compute)

    Journal.once = last  # type: ignore[method-assign]


def main(moment: str, config: str, first: str, last: str) -> None:
    kind, _, rest = moment.partition(":")
    if kind == "function":
        die_after(*rest.split(":"))
    elif kind == "event":
        die_before_recording(rest)
    from flows.runs import run_range

    run_range(
        Path(config), "portal", date.fromisoformat(first), date.fromisoformat(last), force=False
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
