"""What a flow asks between its stages is asked again while a service is out of reach."""

import pytest

from tasks import stage
from tasks.errors import LakeError, LakeUnavailable
from tasks.stage import patiently


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
