"""A stage on a full disk, and what a flow asks while a service is out of reach."""

import errno
from pathlib import Path

import pytest

from tasks import stage
from tasks.errors import DiskFull, LakeError, LakeUnavailable
from tasks.stage import patiently, writing


class Store:
    """A store that fails some times before it answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    def ask(self, question: str) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return f"{question}: answered"


@pytest.fixture(autouse=True)
def two_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PAUSES_SECONDS", [0, 0])


def test_an_outage_that_passes_is_waited_for() -> None:
    store = Store(LakeUnavailable("away"), LakeUnavailable("away"))
    assert patiently(store.ask, question="version") == "version: answered"


def test_an_outage_that_lasts_is_told() -> None:
    with pytest.raises(LakeUnavailable, match="third"):
        patiently(Store(*map(LakeUnavailable, ["first", "second", "third"])).ask, "version")


def test_what_fails_the_same_way_again_is_told_at_once() -> None:
    store = Store(LakeError("first"), LakeError("second"))
    with pytest.raises(LakeError, match="first"):
        patiently(store.ask, "version")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "Error writing bytes to file."),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_with_the_place_and_the_next_step(error: Exception) -> None:
    with (
        pytest.raises(DiskFull, match=r"train found the disk full: .*home /var/day.*repeat this"),
        writing("train", Path("/var/day")),
    ):
        raise error


def test_other_mistakes_are_told_as_they_are() -> None:
    with pytest.raises(OSError, match="denied"), writing("train", Path("/var/day")):
        raise OSError(errno.EACCES, "denied")
