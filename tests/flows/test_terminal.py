"""Ctrl-C while a flow works."""

import logging
import os
import signal

import pytest

from flows.terminal import progress


def work_that_swallows_an_interrupt() -> None:
    """As a library that catches whatever happens while it imports another."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        return
    raise AssertionError("the signal did not come")


def test_an_interrupt_that_a_library_swallows_stops_the_next_stage(capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as left, progress():
        work_that_swallows_an_interrupt()
        logging.getLogger("dayspring").debug("the next stage")
        raise AssertionError("the next stage began")
    assert left.value.code == 130
    assert "The same command continues where this one stopped" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_raised_once_and_not_again_by_a_later_command(capsys):
    with pytest.raises(SystemExit), progress():
        os.kill(os.getpid(), signal.SIGINT)
    with progress():
        logging.getLogger("dayspring").debug("a stage of another command")
