"""What every stage has in common: a Prefect task with retries, a clock, and a line in the log."""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import wraps
from pathlib import Path
from tempfile import gettempdir
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.errors import DiskFull, PipelineError, Unavailable
from tasks.workspace import Workspace

logger = logging.getLogger("dayspring")

Stage = TypeVar("Stage", bound=Callable[..., Any])
Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


HOPELESS = (
    PipelineError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    TypeError,
)
"""What fails the same way again: a broken contract, or a mistake of ours."""


NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

PAUSES_SECONDS = [2, 10, 30, 60]
"""Before each repetition: a server that is restarted within two minutes stops no day."""


def _worth_repeating(_task: Any, _run: Any, state: Any) -> bool:
    """Whether the failure may pass by itself, as a network's or a busy database's does."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, Unavailable) or not isinstance(failure, HOPELESS)


def stage(function: Stage) -> Stage:
    """Make `function` a Prefect task that is safe to run twice and says when it starts.

    Results are references, which the journal keeps; Prefect's cache would be a second truth.
    """

    @wraps(function)
    def told(workspace: Workspace, *args: Any, **kwargs: Any) -> Any:
        # The spinner's text; a stage's own line comes when it is done.
        name = function.__name__.replace("_", " ")
        logger.debug("%s", name)
        with writing(name, workspace.home):
            return function(workspace, *args, **kwargs)

    return task(
        name=function.__name__,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(PAUSES_SECONDS),
        retry_delay_seconds=PAUSES_SECONDS,
        retry_condition_fn=_worth_repeating,
    )(told)


@contextmanager
def writing(name: str, home: Path) -> Iterator[None]:
    """Turn what a library raises on a full disk into an error with the next step.

    Raises:
        DiskFull: the stage `name` found no space for a file.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # Libraries in Rust give the system's words only.
        no_space = getattr(error, "errno", None) in NO_SPACE or os.strerror(errno.ENOSPC) in str(
            error
        )
        if not no_space:
            raise
        raise DiskFull(
            f"{name} found the disk full: {str(error).splitlines()[0]}. Make space where home {home} "
            f"and the temporary files ({gettempdir()}) are, then repeat this command; it continues."
        ) from error


def patiently(ask: Callable[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
    """What `ask` answers; for what a flow asks between its stages, repeated as a stage is.

    Raises:
        Unavailable: the service did not come back within the pauses.
    """
    for pause in PAUSES_SECONDS:
        try:
            return ask(*args, **kwargs)
        except Unavailable as error:
            logger.debug("asked again in %d s: %s", pause, error)
            time.sleep(pause)
    return ask(*args, **kwargs)


def tell_refused(day: date, reasons: Mapping[str, int], quarantine: str) -> None:
    """Say why rows were refused, where they are now, and what brings them back."""
    if reasons:
        logger.info(
            "%s  refused    %s; each row is kept with its file and line in %s. "
            "Repair the source, deliver the files again and run the day again to have them",
            day,
            ", ".join(f"{count:,} × {reason}" for reason, count in reasons.items()),
            quarantine,
        )


class Clock:
    """Seconds since it was made; a stage reports them with its result."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Elapsed wall-clock seconds, to the millisecond."""
        return round(time.perf_counter() - self._start, 3)
