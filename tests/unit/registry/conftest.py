"""A registry on real MLflow and SQLite: migrated once, and copied for each test."""

import shutil
from collections.abc import Callable
from pathlib import Path

import length_ranker
import pytest
from registries import open_registry, register_in

from tasks.registry.registry import Registry
from tasks.registry.version import ModelVersion


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
