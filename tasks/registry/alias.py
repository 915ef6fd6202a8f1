"""The champion's number in a millisecond, for what must answer before MLflow is even imported."""

import sqlite3
from contextlib import closing

from tasks.registry.registry import Registry
from tasks.registry.store import sqlite_path
from tasks.registry.version import CHAMPION

_ALIASED = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"


def champion_version(registry: Registry) -> str | None:
    """The version that is live, or None while there is none.

    An embedded registry is read from its SQLite file, where importing MLflow alone takes over a
    second; a server, or a file that another release of MLflow laid out differently, through MLflow.

    Raises:
        RegistryError: the registry cannot be read.
    """
    path = sqlite_path(registry.tracking_uri)
    if path is not None and path.exists():
        try:
            with closing(
                sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            ) as database:
                row = database.execute(_ALIASED, (registry.name, CHAMPION)).fetchone()
            return str(row[0]) if row else None
        except sqlite3.Error:
            pass  # the path through MLflow reads it, or says what is wrong
    champion = registry.champion()
    return champion.version if champion else None
