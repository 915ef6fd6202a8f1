"""One stack of real servers for all tests of the grown set-up."""

from collections.abc import Iterator

import pytest

from infra.local.stack import Stack


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Prefect, MLflow, S3 and both workers on free ports; nothing of them is left."""
    stack = Stack(tmp_path_factory.mktemp("grown"))
    try:
        yield stack.up()
    finally:
        stack.erase()
