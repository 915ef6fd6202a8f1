"""Comparing a staged day again: what other days have published since it was read comes out of it.

Reading a day is long, and needs nobody; comparing it with its neighbours is short, and has to wait
for them. So days may be read ahead, all at once, and are compared one after another.
"""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

import shutil
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from tasks.interactions.engine import engine, text
from tasks.interactions.neighbours import Neighbours
from tasks.interactions.parquet import write_parquet
from tasks.interactions.staged import StagedDay, StagedFile, write_manifest

if TYPE_CHECKING:
    import duckdb


def can_rebase(staged: StagedDay, neighbours: Neighbours) -> bool:
    """Whether all that `staged` was compared with is still there: rows taken out stay out."""
    return set(staged.neighbours) <= set(neighbours.paths(staged.days))


def rebase(
    staged: StagedDay,
    neighbours: Neighbours,
    *,
    memory_gib: float,
    threads: int | None,
    time_zone: str,
) -> StagedDay:
    """The staged day without the events that `neighbours` have published; as if staged just now.

    The manifest is written before the old files go: killed in between, the repeat begins again.
    """
    spill = staged.folder / "spill"
    with engine(spill, memory_gib=memory_gib, threads=threads, time_zone=time_zone) as connection:
        parts = [
            _without_known(connection, staged, part, neighbours) for part in staged.interactions
        ]
    shutil.rmtree(spill)
    kept = tuple(part for part in parts if part.rows)
    dropped = staged.published - sum(part.rows for part in kept)
    today = staged.day.isoformat()
    compared = replace(
        staged,
        interactions=kept,
        published=staged.published - dropped,
        duplicates=staged.duplicates + dropped,
        late=sum(part.rows for part in kept if part.partition["event_date"] < today),
        neighbours=neighbours.paths(staged.days),
    )
    write_manifest(compared)
    for old in {part.path for part in staged.interactions} - {part.path for part in kept}:
        (staged.folder / "interactions" / old).unlink()
    return compared


def _without_known(
    connection: "duckdb.DuckDBPyConnection",
    staged: StagedDay,
    part: StagedFile,
    neighbours: Neighbours,
) -> StagedFile:
    root = staged.folder / "interactions"
    rows = f"read_parquet({text(str(root / part.path))}, hive_partitioning = false)"
    event_day = date.fromisoformat(part.partition["event_date"])
    if not neighbours.find_known(connection, event_day, f"FROM {rows}"):
        return part
    known = "event_id IN (SELECT event_id FROM met)"
    ((met,),) = connection.execute(f"SELECT count(*) FROM {rows} WHERE {known}").fetchall()
    if not met:
        return part
    fresh = f"SELECT * FROM {rows} WHERE NOT ({known})"
    return write_parquet(connection, fresh, root, part.partition, "event_time")
