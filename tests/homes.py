"""A home as it was before a test damaged it, in its place: MLflow knows its files by full paths."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

DATABASE = "mlflow.db"


def keep_copy(home: Path) -> Path:
    """A copy beside `home`, for `restore`."""
    copy = home.with_name(f"{home.name}-copy")
    shutil.copytree(home, copy)
    return copy


def restore(home: Path, copy: Path) -> None:
    """Make `home` what `copy` is; the database keeps its file, which MLflow holds open."""
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != DATABASE:
            path.unlink()
    shutil.copytree(copy, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DATABASE))
    with (
        closing(sqlite3.connect(copy / DATABASE)) as kept,
        closing(sqlite3.connect(home / DATABASE)) as database,
    ):
        kept.backup(database)
