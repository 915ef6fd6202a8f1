"""One registry, one version and one child process, as the tests of this folder make them."""

import os
from pathlib import Path

from tasks.registry.folder import MAX_BYTES
from tasks.registry.registry import Registry
from tasks.registry.version import ModelVersion


def open_registry(home: Path) -> Registry:
    return Registry(f"sqlite:///{home}/mlflow.db", home / "mlartifacts", "portal")


def register_in(
    registry: Registry,
    ranker: Path,
    fingerprint: str = "f1",
    max_bytes: int | None = MAX_BYTES,
) -> ModelVersion:
    return registry.register(
        ranker,
        fingerprint=fingerprint,
        loader_module="length_ranker",
        tags={
            "trained_through": "2019-11-11T00:00:00+00:00",
            "trigger": "no champion yet",
            "data_versions": '{"interactions": 12}',
            "code_version": "0.1.0",
        },
        params={"shots": 64, "learning_rate": 0.0002},
        metrics={"validation_auc": 0.671},
        files={"plots/roc.svg": b"<svg/>"},
        max_bytes=max_bytes,
    )


def child_environment() -> dict[str, str]:
    """Lets a child process import this folder and the project."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parents[2])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MLFLOW_DISABLE_TELEMETRY": "true"}
