"""DuckDB with a ceiling on memory, and the quoting that keeps names from being code."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import PipelineError

if TYPE_CHECKING:
    import duckdb

_THREADS_PER_GIB = 6


@contextmanager
def engine(
    spill: Path, *, memory_gib: float, threads: int | None, time_zone: str
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A connection in memory that spills to the folder `spill`; times without zone are local.

    Raises:
        PipelineError: the work does not fit in `memory_gib` even with spilling.
    """
    import duckdb

    spill.mkdir(parents=True, exist_ok=True)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_gib}GiB",
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    # Each thread holds buffers of its own, which have to fit as well.
    most = max(1, int(memory_gib * _THREADS_PER_GIB))
    settings["threads"] = min(threads or os.cpu_count() or 1, most)
    connection = duckdb.connect(config=settings)
    try:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET TimeZone = {text(time_zone)}")
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise PipelineError(
            f"Ingest needs more than {memory_gib} GiB of memory or more disk under {spill}. "
            "Raise `compute.memory_gib` or free disk space."
        ) from error
    finally:
        connection.close()


def text(value: str) -> str:
    """`value` as a SQL string."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """`value` as a SQL identifier."""
    return '"' + value.replace('"', '""') + '"'


def texts(values: list[str]) -> str:
    """`values` as a SQL list of strings."""
    return "[" + ", ".join(text(value) for value in values) + "]"
