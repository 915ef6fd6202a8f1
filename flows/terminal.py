"""What a person sees while a flow works: a line a stage, and a spinner where there is a terminal.

Everything goes to stderr, so that stdout carries the result alone.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.status import Status


class _Interrupts:
    """Ctrl-C, remembered: a library that swallows the exception does not swallow the wish.

    Some catch whatever happens while they import another, and an interrupt with it.
    """

    def __init__(self) -> None:
        self._pending = False

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """Within, a SIGINT is remembered before it raises KeyboardInterrupt as ever."""
        if threading.current_thread() is not threading.main_thread():
            yield  # no other thread is interrupted, or may say what happens then
            return
        before = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def raise_swallowed(self) -> None:
        """Raise KeyboardInterrupt if one was raised before, and the work went on all the same."""
        if self._pending and threading.current_thread() is threading.main_thread():
            self._pending = False
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self._pending = True
        raise KeyboardInterrupt


class _StageLines(logging.Handler):
    """Prints the stages' lines; what has only started becomes the spinner's text."""

    def __init__(self, console: Console, status: Status | None, interrupts: _Interrupts) -> None:
        super().__init__(logging.DEBUG)
        self._console = console
        self._status = status
        self._interrupts = interrupts

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno <= logging.DEBUG:
            self._interrupts.raise_swallowed()  # a stage starts, so nothing has stopped the work
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
    interrupts = _Interrupts()
    with spinner as status, interrupts.remembered():
        handler = _StageLines(console, status, interrupts)
        logger.addHandler(handler)
        try:
            yield
        except KeyboardInterrupt:
            console.print("Interrupted. The same command continues where this one stopped.")
            raise SystemExit(130) from None
        finally:
            logger.removeHandler(handler)
