"""Ranking or filtering a file of candidates with the champion: what a batch-serving job calls."""

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tasks.config import zone
from tasks.context import scoring_context
from tasks.errors import ConfigError, SourceError
from tasks.interactions.engine import engine, name, text
from tasks.interactions.schema import HISTORY, UTC_TIME
from tasks.models import live_champion, load, name_of
from tasks.workspace import Workspace

if TYPE_CHECKING:
    import duckdb

READERS = {
    ".jsonl": "read_json_auto",
    ".json": "read_json_auto",
    ".csv": "read_csv_auto",
    ".tsv": "read_csv_auto",
    ".parquet": "read_parquet",
}
WRITERS = {".jsonl": "JSON", ".json": "JSON", ".csv": "CSV", ".parquet": "PARQUET"}


Task = Literal["rank", "filter"]


class Answered(NamedTuple):
    """What became of a file of candidates."""

    scored: int
    written: int
    """As many, or those that the filter kept."""
    model: str


def predict_file(
    workspace: Workspace,
    source: Path,
    output: Path | None,
    *,
    task: Task = "rank",
    threshold: float | None = None,
) -> Answered:
    """Score every row of `source`; adds click_probability and rank, 1 the best of its impression.

    Needs user_id and item_id. impression_id (without it a user's rows are one slate), event_time
    (now without it) and history (item ids, oldest first; derived from past clicks without it) are
    used where they are there. Names are those of source.columns. Without `output`, CSV on stdout.

    Args:
        task: `rank` writes every row; `filter` those with a click probability of `threshold` or more.
        threshold: of `filter` alone; `tasks.recommender.answers` has ways to choose it.

    Raises:
        ConfigError: a path is not one of a file of a known format, or task and threshold do not fit.
        SourceError: the file's content, a column or a value cannot be used.
    """
    from tasks.recommender.answers import kept, ranks
    from tasks.recommender.score import score

    _check_task(task, threshold)
    _check_format("--input", source, READERS)
    if not source.is_file():
        raise ConfigError(f"--input {source} is not a file; name a file of candidates.")
    if output is not None:
        _check_output(output)
    champion = live_champion(workspace)
    version = champion.version if champion else None
    with engine(
        workspace.staging / "predict",
        memory_gib=workspace.config.compute.memory_gib,
        threads=None,
        time_zone=workspace.config.source.time_zone,
    ) as connection:
        rows = _read(connection, workspace, source)
        first, last = _days(workspace, rows)
        context = scoring_context(workspace, rows, first, last)
        scores = score(load(workspace, version), rows, context)
        answers = rows.drop_columns(["history", "position"])
        answers = answers.append_column("click_probability", pa.array(scores))
        answers = answers.append_column("rank", pa.array(ranks(scores, rows["impression_id"])))
        if threshold is not None:
            answers = answers.filter(pa.array(kept(scores, threshold)))
        _write(connection, answers, output)
    return Answered(rows.num_rows, answers.num_rows, name_of(version))


def _check_task(task: Task, threshold: float | None) -> None:
    if task == "filter" and threshold is None:
        raise ConfigError("--task filter needs --threshold, a click probability; add it.")
    if task == "rank" and threshold is not None:
        raise ConfigError(
            f"--threshold {threshold:g} says what a filter keeps, and --task rank keeps all; "
            "add --task filter, or leave the threshold out."
        )
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"--threshold {threshold:g} is no probability; give one from 0 to 1.")


def _check_format(option: str, path: Path, known: dict[str, str]) -> None:
    if path.suffix not in known:
        raise ConfigError(
            f"{option} {path} ends with {path.suffix!r}, which names no format; "
            f"use one of {', '.join(known)}."
        )


def _check_output(output: Path) -> None:
    """Before anything is scored: a place that cannot be written to."""
    _check_format("--output", output, WRITERS)
    if output.is_dir():
        raise ConfigError(f"--output {output} is a folder; name a file.")
    if not output.parent.is_dir():
        raise ConfigError(
            f"--output {output} lies in {output.parent}, which is no folder; make it, or name another."
        )


def _read(connection: "duckdb.DuckDBPyConnection", workspace: Workspace, source: Path) -> pa.Table:
    """The rows of `source` with our names and types, in the file's order."""
    import duckdb

    if not source.stat().st_size:
        raise SourceError(f"{source} is empty; give it a line for each candidate.")
    table = f"{READERS[source.suffix]}({text(str(source))})"
    theirs = workspace.config.source.columns
    try:
        found = {
            column: kind for column, kind, *_ in connection.sql(f"DESCRIBE FROM {table}").fetchall()
        }
        for needed in ("user_id", "item_id"):
            if theirs.get(needed, needed) not in found:
                raise SourceError(
                    f"{source} has no column {theirs.get(needed, needed)}; it has {', '.join(found)}. "
                    "Rename it, or map it in source.columns."
                )
        chosen = ", ".join(
            f"{_expression(ours, theirs.get(ours, ours), found)} AS {ours}" for ours in _DEFAULTS
        )
        rows = connection.sql(f"SELECT {chosen} FROM {table}").to_arrow_table()  # noqa: S608
        rows = rows.cast(_CANDIDATES)
    except (duckdb.Error, pa.ArrowException) as error:
        first = str(error).splitlines()[0].rstrip(". ")
        raise SourceError(
            f"{source} cannot be read: {first}. Repair that value, or write the file again."
        ) from None
    if not rows.num_rows:
        raise SourceError(
            f"{source} holds no rows, so there is nothing to score; give it one for each candidate."
        )
    for needed in ("user_id", "item_id", "event_time"):
        if rows[needed].null_count:
            raise SourceError(
                f"{source}: {rows[needed].null_count:,} of its {rows.num_rows:,} rows have no "
                f"{needed}, which every candidate needs; fill it."
            )
    return rows


_CANDIDATES = pa.schema(
    [
        ("event_time", UTC_TIME),
        ("impression_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("position", pa.int32()),
        ("history", HISTORY),
    ]
)

_DEFAULTS = {
    "event_time": "now()",
    "impression_id": "CAST(user_id AS VARCHAR)",
    "user_id": "NULL",
    "item_id": "NULL",
    "position": "NULL",
    "history": "NULL",
}
_TYPES = {"event_time": "TIMESTAMPTZ", "position": "INTEGER"}


def _expression(ours: str, theirs: str, found: dict[str, str]) -> str:
    """SQL for our column; `history` may be a list, a list of item and label, or ids in one text."""
    if theirs not in found:
        return _DEFAULTS[ours]
    column = name(theirs)
    if ours != "history":
        return f"CAST({column} AS {_TYPES.get(ours, 'VARCHAR')})"
    if found[theirs].startswith("STRUCT"):
        return column
    items = f"string_split({column}, ' ')" if found[theirs] == "VARCHAR" else column
    return f"list_transform({items}, lambda x: {{'item_id': CAST(x AS VARCHAR), 'label': 1}})"


def _days(workspace: Workspace, rows: pa.Table) -> tuple[date, date]:
    """The first and the last day of the rows, in the source's time zone."""
    span = pc.min_max(rows["event_time"]).as_py()
    local = zone(workspace.config)
    return span["min"].astimezone(local).date(), span["max"].astimezone(local).date()


def _write(connection: "duckdb.DuckDBPyConnection", answers: pa.Table, output: Path | None) -> None:
    """Rows in the file's order; written whole or not at all."""
    connection.register("answers", answers)
    if output is None:
        from pyarrow import csv

        # Through the open stream: DuckDB would open a redirected stdout anew and write over it.
        csv.write_csv(connection.table("answers").to_arrow_table(), sys.stdout.buffer)
        sys.stdout.flush()
        return
    partial = output.with_name(f".{output.name}.partial")
    form = WRITERS[output.suffix]
    connection.execute(f"COPY answers TO {text(str(partial))} (FORMAT {form})")
    partial.replace(output)
