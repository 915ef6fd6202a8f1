"""Makes a Delta table older, as if everything in it had happened days ago."""

import os
import re
from pathlib import Path

MS_PER_DAY = 86_400_000


def age(table: Path, days: float) -> None:
    """Move every time in a local table's log, and of its files, `days` into the past."""
    for commit in (table / "_delta_log").glob("*.json"):
        commit.write_text(aged(commit.read_text(), days))
    for file in table.rglob("*.parquet"):
        seconds = file.stat().st_mtime - days * 86_400
        os.utime(file, (seconds, seconds))


def aged(commit: str, days: float) -> str:
    """One commit of a table's log with its times `days` earlier."""
    for name in ("deletionTimestamp", "modificationTime", "timestamp"):
        commit = re.sub(
            rf'"{name}":(\d+)', lambda m, name=name: f'"{name}":{_older(m[1], days)}', commit
        )
    return commit


def _older(milliseconds: str, days: float) -> int:
    return int(int(milliseconds) - days * MS_PER_DAY)
