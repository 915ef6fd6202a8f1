"""The alias `champion` read and moved in milliseconds: a rollback does not wait for MLflow's import.

An embedded registry is its SQLite file, and a move is one transaction on it. A server is asked by
MLflow's REST API, tags first and the alias last. Where the file has another layout, or the server
wants what only MLflow's client knows, that client does the same.
"""

import base64
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tasks.registry.store import open_client, sqlite_path
from tasks.registry.version import CHAMPION, LAST_MOVE, Move

if TYPE_CHECKING:
    from mlflow import MlflowClient

BUSY_SECONDS = 30.0
"""How long a move waits for MLflow to finish writing to the file."""

ANSWER_SECONDS = 20.0
"""How long a server may take for one request."""

PAGE = 1000
"""Versions that one request asks for."""

ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
"""MLflow's codes for a model, a version or an alias that is not there."""

_CLIENTS_OWN = (
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_WORKSPACE",
)
"""Settings that only MLflow's client knows how to follow."""

VersionTags = Mapping[str, Mapping[str, str]]
"""Tags to set, by version."""


@dataclass(frozen=True)
class Listed:
    """One version, as a list of all of them tells it."""

    version: str
    run_id: str
    created_at: datetime
    tags: Mapping[str, str]


class Pointer(Protocol):
    """What a move reads and writes, and what a list of versions reads."""

    def champion(self) -> str | None:
        """The version that is live; None for the zero-shot model."""

    def last_move(self) -> Move | None:
        """Dayspring's last move of the alias; None before there was one."""

    def tags(self, version: str) -> dict[str, str] | None:
        """The version's tags; None where there is no such version."""

    def versions(self) -> list[Listed]:
        """All versions, oldest first, in one batch."""

    def move(self, move: Move, tags: VersionTags) -> None:
        """Set the tags, remember the move, then let the alias stand on `move.version`."""


class _Unfit(Exception):
    """This way does not lead to the registry; MLflow's client has to go."""


@contextmanager
def pointer(tracking_uri: str, name: str) -> Iterator[Pointer]:
    """The fastest pointer that fits the registry; what it says is as of the block's beginning.

    Args:
        tracking_uri: `sqlite:///<file>` or a server's URL.
        name: the registered model.
    """
    path = sqlite_path(tracking_uri)
    if path is not None and path.exists():
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as database:
            found = _fitting(lambda: _Sqlite(database, name))
            if found is not None:
                yield found
                return
    if path is None and not any(os.environ.get(setting) for setting in _CLIENTS_OWN):
        server = _fitting(lambda: _Server(tracking_uri, name))
        if server is not None:
            yield server
            return
    yield _Client(open_client(tracking_uri), name)


def _fitting(make: Callable[[], Pointer]) -> Pointer | None:
    try:
        return make()
    except (_Unfit, sqlite3.Error, OSError):
        return None  # MLflow's client finds the way, or says what is wrong


class _Sqlite:
    """MLflow's own tables, if they are laid out as this code knows them."""

    _LAYOUT: Mapping[str, set[str]] = {
        "registered_model_aliases": {"workspace", "name", "alias", "version"},
        "registered_model_tags": {"workspace", "name", "key", "value"},
        "model_version_tags": {"workspace", "name", "version", "key", "value"},
    }

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        self._database = database
        self._name = name
        for table, columns in self._LAYOUT.items():
            found = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            if found != columns:
                raise _Unfit
        workspaces = database.execute(
            "SELECT workspace FROM registered_models WHERE name = ?", (name,)
        ).fetchall()
        if len(workspaces) > 1:
            raise _Unfit  # MLflow's client knows which is meant
        self._workspace = workspaces[0][0] if workspaces else ""  # no model yet: no row is found

    def champion(self) -> str | None:
        row = self._one(
            "SELECT version FROM registered_model_aliases WHERE {model} AND alias = ?", CHAMPION
        )
        return str(row[0]) if row else None

    def last_move(self) -> Move | None:
        row = self._one(
            "SELECT value FROM registered_model_tags WHERE {model} AND key = ?", LAST_MOVE
        )
        return Move.from_json(row[0]) if row else None

    def tags(self, version: str) -> dict[str, str] | None:
        if not version.isdecimal() or not self._one(
            "SELECT 1 FROM model_versions WHERE {model} AND version = ? "
            "AND current_stage != 'Deleted_Internal'",
            int(version),
        ):
            return None
        return dict(
            self._all(
                "SELECT key, value FROM model_version_tags WHERE {model} AND version = ?",
                int(version),
            )
        )

    def versions(self) -> list[Listed]:
        tags: dict[int, dict[str, str]] = {}
        query = "SELECT version, key, value FROM model_version_tags WHERE {model}"
        for version, key, value in self._all(query):
            tags.setdefault(version, {})[key] = value
        found = self._all(
            "SELECT version, run_id, creation_time FROM model_versions WHERE {model} "
            "AND current_stage != 'Deleted_Internal' ORDER BY version"
        )
        return [_listed(str(v), run, made, tags.get(v, {})) for v, run, made in found]

    def move(self, move: Move, tags: VersionTags) -> None:
        model = (self._workspace, self._name)
        self._database.execute("BEGIN IMMEDIATE")  # closing without COMMIT takes it all back
        self._database.executemany(
            "INSERT OR REPLACE INTO model_version_tags (workspace, name, version, key, value) "
            "VALUES (?, ?, ?, ?, ?)",
            [(*model, int(v), key, text) for v, kept in tags.items() for key, text in kept.items()],
        )
        self._database.execute(
            "INSERT OR REPLACE INTO registered_model_tags (workspace, name, key, value) "
            "VALUES (?, ?, ?, ?)",
            (*model, LAST_MOVE, move.to_json()),
        )
        if move.version is None:
            self._all("DELETE FROM registered_model_aliases WHERE {model} AND alias = ?", CHAMPION)
        else:
            self._database.execute(
                "INSERT OR REPLACE INTO registered_model_aliases (workspace, name, alias, version) "
                "VALUES (?, ?, ?, ?)",
                (*model, CHAMPION, int(move.version)),
            )
        self._database.execute("COMMIT")

    def _all(self, query: str, *values: object) -> list[Any]:
        where = query.format(model="workspace = ? AND name = ?")
        return self._database.execute(where, (self._workspace, self._name, *values)).fetchall()

    def _one(self, query: str, *values: object) -> Any:
        return next(iter(self._all(query, *values)), None)


class _Server:
    """MLflow's REST API by the standard library."""

    def __init__(self, url: str, name: str) -> None:
        self._url = f"{url.rstrip('/')}/api/2.0/mlflow"
        self._name = name
        found = self._find("registered-models/get", name=name)
        if found is None:
            raise _Unfit  # MLflow's client says that there is no such model
        self._model = found["registered_model"]

    def champion(self) -> str | None:
        aliases = self._model.get("aliases", [])
        return next((str(a["version"]) for a in aliases if a["alias"] == CHAMPION), None)

    def last_move(self) -> Move | None:
        tags = _pairs(self._model.get("tags", []))
        return Move.from_json(tags[LAST_MOVE]) if LAST_MOVE in tags else None

    def tags(self, version: str) -> dict[str, str] | None:
        found = self._find("model-versions/get", name=self._name, version=version)
        if found is None:
            return None
        return _pairs(found["model_version"].get("tags", []))

    def versions(self) -> list[Listed]:
        found: list[Listed] = []
        page: dict[str, str] = {}
        while True:
            fields = {"filter": f"name = '{self._name}'", "max_results": str(PAGE)} | page
            answer = self._ask("GET", f"model-versions/search?{urlencode(fields)}", None)
            found += [
                _listed(
                    str(each["version"]),
                    each.get("run_id", ""),
                    int(each["creation_timestamp"]),
                    _pairs(each.get("tags", [])),
                )
                for each in answer.get("model_versions", [])
            ]
            if not answer.get("next_page_token"):
                return sorted(found, key=lambda each: int(each.version))
            page = {"page_token": answer["next_page_token"]}

    def move(self, move: Move, tags: VersionTags) -> None:
        model = {"name": self._name}
        for version, kept in tags.items():
            for key, value in kept.items():
                tag = {"version": version, "key": key, "value": value}
                self._ask("POST", "model-versions/set-tag", model | tag)
        told = {"key": LAST_MOVE, "value": move.to_json()}
        self._ask("POST", "registered-models/set-tag", model | told)
        alias = model | {"alias": CHAMPION}
        if move.version is None:
            self._ask("DELETE", "registered-models/alias", alias)
        else:
            self._ask("POST", "registered-models/alias", alias | {"version": move.version})

    def _find(self, path: str, **fields: str) -> dict[str, Any] | None:
        """What the server tells; None where it says that there is no such thing."""
        try:
            return self._ask("GET", f"{path}?{urlencode(fields)}", None)
        except HTTPError as error:
            if _code(error) in ABSENT:
                return None
            raise

    def _ask(self, method: str, path: str, fields: dict[str, str] | None) -> dict[str, Any]:
        request = Request(  # noqa: S310 - the config takes http and https only
            f"{self._url}/{path}",
            method=method,
            data=json.dumps(fields).encode() if fields else None,
            headers={"Content-Type": "application/json", **_authorization()},
        )
        with urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            return json.load(answer)


def _pairs(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in tags}


def _listed(version: str, run_id: str | None, made: int, tags: Mapping[str, str]) -> Listed:
    return Listed(version, run_id or "", datetime.fromtimestamp(made / 1000, UTC), tags)


def _authorization() -> dict[str, str]:
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{x}") for x in ("USERNAME", "PASSWORD"))
    if user and password:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _code(error: HTTPError) -> str:
    try:
        return str(json.load(error).get("error_code", ""))
    except (ValueError, AttributeError):
        return ""


class _Client:
    """MLflow's own client."""

    def __init__(self, client: "MlflowClient", name: str) -> None:
        self._client = client
        self._name = name
        from mlflow.exceptions import MlflowException

        try:
            self._model = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            self._model = None

    def champion(self) -> str | None:
        found = self._model.aliases.get(CHAMPION) if self._model else None
        return str(found) if found else None

    def last_move(self) -> Move | None:
        written = self._model.tags.get(LAST_MOVE) if self._model else None
        return Move.from_json(written) if written else None

    def tags(self, version: str) -> dict[str, str] | None:
        from mlflow.exceptions import MlflowException

        try:
            return dict(self._client.get_model_version(self._name, version).tags)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            return None

    def versions(self) -> list[Listed]:
        found: list[Listed] = []
        token = None
        while True:
            answer = self._client.search_model_versions(
                f"name = '{self._name}'", max_results=PAGE, page_token=token
            )
            found += [
                _listed(str(each.version), each.run_id, each.creation_timestamp, dict(each.tags))
                for each in answer
            ]
            token = answer.token
            if not token:
                return sorted(found, key=lambda each: int(each.version))

    def move(self, move: Move, tags: VersionTags) -> None:
        for version, kept in tags.items():
            for key, value in kept.items():
                self._client.set_model_version_tag(self._name, version, key, value)
        self._client.set_registered_model_tag(self._name, LAST_MOVE, move.to_json())
        if move.version is None:
            self._client.delete_registered_model_alias(self._name, CHAMPION)
        else:
            self._client.set_registered_model_alias(self._name, CHAMPION, move.version)
