"""What a person sees while a flow works: a line a stage, and a spinner where there is a terminal.

Everything goes to stderr, so that stdout carries the result alone.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.status import Status


class _StageLines(logging.Handler):
    """Prints the stages' lines; what has only started becomes the spinner's text."""

    def __init__(self, console: Console, status: Status | None) -> None:
        super().__init__(logging.DEBUG)
        self._console = console
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno <= logging.DEBUG:
            if self._status is not None:
                self._status.update(message)
            return
        style = "yellow" if record.levelno >= logging.WARNING else None
        self._console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress() -> Iterator[None]:
    """Show the stages' progress on stderr: a spinner on a terminal, plain lines otherwise.

    Ctrl-C ends the process with 130 and says that nothing is lost.
    """
    console = Console(stderr=True)
    spinner = console.status("starting") if console.is_terminal else nullcontext()
    logger = logging.getLogger("dayspring")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    with spinner as status:
        handler = _StageLines(console, status)
        logger.addHandler(handler)
        try:
            yield
        except KeyboardInterrupt:
            console.print("Interrupted. The same command continues where this one stopped.")
            raise SystemExit(130) from None
        finally:
            logger.removeHandler(handler)
