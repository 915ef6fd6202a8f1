from pathlib import Path

import pytest
from ingest_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A lake, a staging folder and a folder of logs of one test."""
    return Bench(tmp_path)
