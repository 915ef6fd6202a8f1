"""Opening MLflow: quietly, whole or not at all, and with errors that say what to do next."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import RegistryError, RegistryUnavailable
from tasks.registry.lock import held

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # `--json` promises one document on stdout.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that is down is reported within seconds, not after MLflow's seven growing pauses.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # A uv.lock in the working directory is not part of the model.
    "MLFLOW_UV_AUTO_DETECT": "false",
}

_REGISTRY_LIBRARIES = {"mlflow", "sqlalchemy", "sqlite3", "requests", "urllib3", "botocore"}

PASSING = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
"""MLflow's codes for its own trouble; no answer at all is told as the first."""


def sqlite_path(tracking_uri: str) -> Path | None:
    """The database file of an embedded registry; None for a server's URI."""
    if not tracking_uri.startswith(SQLITE):
        return None
    return Path(tracking_uri.removeprefix(SQLITE))


def open_client(tracking_uri: str) -> "MlflowClient":
    """A client of `tracking_uri`; the first use of an SQLite file creates its tables.

    Raises:
        RegistryError: the server does not answer, or the file is no MLflow database.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # It logs the traceback of every database error that it raises; `explained` tells it once.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    path = sqlite_path(tracking_uri)
    if path is not None:
        _prepare_sqlite(path)
    with explained(f"Opening the registry {tracking_uri}", tracking_uri):
        return _client(tracking_uri)


@contextmanager
def explained(action: str, tracking_uri: str) -> Iterator[None]:
    """Turn what MLflow, its database or its server raise into a RegistryError."""
    try:
        yield
    except Exception as error:
        library = type(error).__module__.partition(".")[0]
        if library not in _REGISTRY_LIBRARIES and not isinstance(error, OSError):
            raise
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise (RegistryUnavailable if _may_pass(error, tracking_uri) else RegistryError)(
            f"{action} failed: {cause}. {_next_step(tracking_uri, cause)}"
        ) from error


def _may_pass(error: Exception, tracking_uri: str) -> bool:
    """Whether a server failed, or did not answer, rather than refused what it was asked."""
    refused = getattr(error, "error_code", "INTERNAL_ERROR") not in PASSING
    return sqlite_path(tracking_uri) is None and not refused


def _next_step(tracking_uri: str, cause: str) -> str:
    path = sqlite_path(tracking_uri)
    if "out-of-date database schema" in cause:
        return f"Back the database up, then run `mlflow db upgrade {tracking_uri}`."
    if path is None:
        return f"Check that the MLflow server at {tracking_uri} is up and can be reached from here."
    if "locked" in cause:
        return f"Another process keeps {path} locked: stop it, then repeat this run."
    return (
        f"Check that {path} and the artifacts beside it can be read and written and that the disk "
        "is not full; if the file is damaged, restore it from a backup."
    )


def _client(tracking_uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri, registry_uri=tracking_uri)


def _prepare_sqlite(path: Path) -> None:
    """Create the database if there is none, and refuse a file that is something else."""
    if not has_content(path):
        with held(path.with_name(f"{path.name}.lock")):
            if not has_content(path):
                _create_sqlite(path)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise RegistryError(
            f"{path} is not a usable MLflow database: {error}. Restore it from a backup, "
            "or move it aside to begin with an empty registry."
        ) from error


def _create_sqlite(path: Path) -> None:
    """Migrate under another name, then rename: a killed first run leaves no half-made tables."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    with explained(f"Creating the registry database {path}", f"{SQLITE}{path}"):
        _client(f"{SQLITE}{draft}")
    draft.replace(path)


def has_content(path: Path) -> bool:
    """Whether there is a file with anything in it."""
    return path.exists() and path.stat().st_size > 0
