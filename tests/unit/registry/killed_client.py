"""Ends a run at one call of MLflow's client, as a kill would: nothing after it is executed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient


class Killed(BaseException):
    """No `except Exception` between here and the test may swallow it."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, method: str, moment: str) -> Iterator[None]:
    """Raise `Killed` before or after the first call of `method`; the block swallows it."""
    genuine = getattr(MlflowClient, method)

    def dying(self: MlflowClient, *args: object, **kwargs: object) -> object:
        if moment == "after":
            genuine(self, *args, **kwargs)
        raise Killed(method)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, method, dying)
        with pytest.raises(Killed):
            yield
