import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from registries import child_environment, open_registry, register_in

from tasks.errors import RegistryError
from tasks.registry.alias import champion_version
from tasks.registry.lease import Leases
from tasks.registry.registry import Registry
from tasks.registry.store import open_client
from tasks.registry.version import ModelVersion

Register = Callable[[str], ModelVersion]


def test_a_question_creates_no_database(tmp_path: Path) -> None:
    registry = open_registry(tmp_path)

    assert registry.champion() is None
    assert registry.challenger() is None
    assert champion_version(registry) is None
    assert list(tmp_path.iterdir()) == []


def test_the_first_registration_creates_the_database_and_keeps_stdout_clean(
    tmp_path: Path, ranker: Path
) -> None:
    # What a first run that was killed inside the migration leaves behind.
    (tmp_path / "mlflow.db.draft").write_bytes(b"half a database")
    script = """
import sys
from pathlib import Path
from registries import open_registry, register_in

registry = open_registry(Path(sys.argv[1]))
version = register_in(registry, Path(sys.argv[2]))
registry.promote(version.version, compared_with=None, reason="first", evidence={})
"""
    first = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(ranker)],
        env=child_environment(),
        check=True,
        capture_output=True,
        text=True,
    )

    assert first.stdout == ""
    assert first.stderr == ""
    assert champion_version(open_registry(tmp_path)) == "1"
    assert not (tmp_path / "mlflow.db.draft").exists()


def test_asking_for_the_champion_fast_imports_no_mlflow(home: Path) -> None:
    script = """
import sys
from pathlib import Path
from registries import open_registry
from tasks.registry.alias import champion_version

assert champion_version(open_registry(Path(sys.argv[1]))) is None
assert "mlflow" not in sys.modules and "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(home)], env=child_environment(), check=True)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 100, b"x"])
def test_a_damaged_database_is_told_with_the_next_step(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mlflow.db").write_bytes(content)

    with pytest.raises(RegistryError, match=r"mlflow\.db is not a usable MLflow database.*backup"):
        open_registry(tmp_path).champion()
    with pytest.raises(RegistryError, match="not a usable MLflow database"):
        champion_version(open_registry(tmp_path))


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE shop (id INTEGER)")

    with pytest.raises(RegistryError, match="not a usable MLflow database: no such table"):
        open_registry(tmp_path).champion()


def test_a_database_that_breaks_in_use_is_told_with_the_next_step(
    home: Path, registry: Registry, register: Register
) -> None:
    register("f1")
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("DROP TABLE model_version_tags")

    with pytest.raises(RegistryError, match=r"Reading version 1 of dayspring\.portal failed"):
        registry.version("1")


def test_a_server_that_is_down_is_told_within_seconds(tmp_path: Path) -> None:
    registry = Registry("http://127.0.0.1:9", None, "portal", leases=Leases(str(tmp_path)))
    began = time.monotonic()

    with pytest.raises(
        RegistryError, match=r"Check that the MLflow server at http://127\.0\.0\.1:9"
    ):
        registry.champion()
    assert time.monotonic() - began < 20


def test_a_server_without_leases_is_refused(tmp_path: Path, ranker: Path) -> None:
    with pytest.raises(RegistryError, match="Name the leases"):
        register_in(Registry("http://127.0.0.1:9", None, "portal"), ranker)


def test_an_alias_on_a_foreign_version_is_refused(
    home: Path, registry: Registry, register: Register
) -> None:
    register("f1")
    client = open_client(registry.tracking_uri)
    client.create_model_version(registry.name, home.as_uri())
    client.set_registered_model_alias(registry.name, "champion", "2")

    with pytest.raises(RegistryError, match="was not registered by Dayspring"):
        registry.champion()


def test_a_deleted_experiment_is_told_with_the_next_step(
    registry: Registry, register: Register, ranker: Path
) -> None:
    register("f1")
    client = open_client(registry.tracking_uri)
    experiment = client.get_experiment_by_name(registry.name)
    client.delete_experiment(experiment.experiment_id)

    with pytest.raises(RegistryError, match="mlflow experiments restore"):
        register_in(registry, ranker, "f2")


@pytest.mark.parametrize("pipeline", ["", "a/b", "a:b", "-a", "a b"])
def test_a_pipeline_that_cannot_name_a_model_is_refused(tmp_path: Path, pipeline: str) -> None:
    with pytest.raises(RegistryError, match="cannot name a registered model"):
        Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, pipeline)


@pytest.mark.parametrize("fingerprint", ["", "it's"])
def test_a_fingerprint_that_cannot_be_searched_is_refused(
    registry: Registry, ranker: Path, fingerprint: str
) -> None:
    with pytest.raises(RegistryError):
        register_in(registry, ranker, fingerprint)
