"""What tests share: a small portal's logs, the MIND sample, and one Prefect server."""

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings
from portal import FIRST_DAY

from tasks.environment import prepare_environment

prepare_environment()

# How long an example takes on a busy machine says nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]

LONGEST_FIRST = ("grown", "registry", "faults", "flows", "stages")
"""Folders whose files take longest: two processes that share the tests then end together."""

SHARE_SERVERS = ("grown", "registry")
"""Folders whose files share servers, which take long to start: each stays in one process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each file in one process, with its fixtures; files that share servers in the same one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = Path(nodeid.partition("::")[0])
            return file.parent.name if file.parent.name in SHARE_SERVERS else str(file)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def mind_dir() -> Path:
    for folder in (os.environ.get("MIND_DIR"), ROOT / "../shared/data/mind"):
        if folder and (Path(folder) / "behaviors.tsv").is_file():
            return Path(folder).resolve()
    pytest.skip("no MIND sample: neither MIND_DIR nor ../shared/data/mind has behaviors.tsv")


@pytest.fixture(scope="session")
def portal_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of a small portal with late, doubled and malformed rows; tests do not write to it."""
    from tasks.simulator.settings import SimulatorSettings
    from tasks.simulator.simulate import simulate

    folder = tmp_path_factory.mktemp("portal")
    settings = SimulatorSettings(seed=3, num_users=150, impressions_per_day=400, births_per_day=60)
    simulate(settings, out=folder, first_day=FIRST_DAY, days=3)
    return folder


@pytest.fixture(scope="session")
def prefect_server() -> None:
    """One Prefect server with a database of its own for all tests that run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, to be copied: making its tables takes seconds."""
    from tasks.registry.store import open_client

    database = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    open_client(f"sqlite:///{database}")
    return database


@pytest.fixture(scope="session")
def warm_home(tmp_path_factory: pytest.TempPathFactory, migrated: Path, portal_logs: Path) -> Path:
    """A home, to be copied, with an empty registry and the portal's items encoded: both take seconds."""
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.items import embed_texts, item_texts

    home = tmp_path_factory.mktemp("warm") / "home"
    home.mkdir()
    shutil.copy(migrated, home / "mlflow.db")
    files = sorted((portal_logs / "items").glob("*.json.gz"))
    lines = b"\n".join(gzip.decompress(file.read_bytes()) for file in files).splitlines()
    items = pa.Table.from_pylist([json.loads(line) for line in lines if line])
    embed_texts(item_texts(items), zero_shot("all-MiniLM-L6-v2").encoder, home / "embeddings")
    return home
