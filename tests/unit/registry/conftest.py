"""A registry on real MLflow and SQLite: migrated once, and copied for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import length_ranker
import pytest
from mlflow_server import serving
from registries import open_registry, register_in

from tasks.registry.registry import Registry
from tasks.registry.version import ModelVersion


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[str]:
    """One MLflow server for all that ask for it; each test has a model of its own."""
    with serving(tmp_path_factory.mktemp("server"), migrated) as url:
        yield url


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Path:
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def registry(home: Path) -> Registry:
    return open_registry(home)


@pytest.fixture
def ranker(tmp_path: Path) -> Path:
    return length_ranker.save(tmp_path / "saved")


@pytest.fixture
def register(registry: Registry, ranker: Path) -> Callable[[str], ModelVersion]:
    return lambda fingerprint: register_in(registry, ranker, fingerprint)
