"""From files to typed tables in DuckDB: `records`, `refused` with their text, `rejects`.

A record is a line that was parsed (of MIND: an impression, which holds many rows); its number is
its place in reading order over all files. `refused` holds what goes to quarantine.
"""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.errors import SourceError
from tasks.interactions.engine import text, texts
from tasks.interactions.formats import Layout, check_columns, reader_of, sample_keys, selects
from tasks.interactions.lines import Integers, lines_at_bytes, lines_of_records
from tasks.interactions.rows import NOT_JSON, NOT_UTF8, TOO_LONG, UNBALANCED_QUOTES, WRONG_COLUMNS
from tasks.interactions.source import SourceFile

if TYPE_CHECKING:
    import duckdb

_REJECTED = {
    "INVALID ENCODING": NOT_UTF8,
    "UNQUOTED VALUE": UNBALANCED_QUOTES,
    "LINE SIZE OVER MAXIMUM": TOO_LONG,
}
_LONGEST_RAW = 65_536
_WAITING_BYTES = 32 << 20


def land(
    connection: "duckdb.DuckDBPyConnection",
    files: Sequence[SourceFile],
    layout: Layout,
    typed: Callable[[str], str],
    into: str,
    counted: Sequence[str],
) -> None:
    """Create the table `into` with every record of the files, in order, typed by `typed`.

    Beside it, `firsts` has each file's first record and how often its `counted` columns are filled.

    Raises:
        SourceError: a file cannot be read, or lacks a column altogether.
    """
    import duckdb

    try:
        for number, select in enumerate(selects(connection, files, layout)):
            verb = f"INSERT INTO {into}" if number else f"CREATE TABLE {into} AS"
            connection.execute(f"{verb} {typed(select)}")
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise SourceError(
            f"{files[0].path} (one of {len(files)}) cannot be read as {layout.format}: {reason}. "
            "Check `source.format` and the file, then repeat the day."
        ) from error
    counts = "".join(f", count({column}) AS filled_{column}" for column in counted)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE firsts AS "
        f"SELECT file, min(rowid) AS first{counts} FROM {into} GROUP BY file"
    )
    _land_rejects(connection, files, layout)


def check_absent(
    connection: "duckdb.DuckDBPyConnection",
    files: Sequence[SourceFile],
    layout: Layout,
    counted: Sequence[str],
) -> None:
    """See that no JSON lines file lacks a required or renamed column in every row.

    Args:
        connection: where the files were landed.
        files: what was landed.
        layout: the wanted columns.
        counted: columns that are NULL where the file's is, counted in `firsts`.

    Raises:
        SourceError: a column is in no row of a file, and not among the keys of its first rows.
    """
    if layout.format != "jsonl":
        return
    checked = [c for c in counted if c in layout.required or c in layout.renamed]
    # Of columns that are derived where they are NULL, only the first rows can tell.
    sampled = tuple(c for c in layout.wanted if c in layout.renamed and c not in counted)
    counts = ", ".join(f"filled_{column}" for column in checked)
    rows = connection.execute(f"SELECT file, {counts} FROM firsts ORDER BY file")
    for file, *present in rows.fetchall():
        empty = (c for c, count in zip(checked, present, strict=True) if not count)
        absent = (*empty, *sampled)
        keys = sample_keys(files[file].path) if absent else []
        if keys:
            check_columns(files[file].path, keys, layout, absent)


def find_refused(
    connection: "duckdb.DuckDBPyConnection", files: Sequence[SourceFile], layout: Layout
) -> None:
    """Create `quarantined` (file, line, raw, reason, homeless) from `refused` and `rejects`.

    `refused` has (file, record, reason, homeless).
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE raw_lines (file BIGINT, record BIGINT, line BIGINT, raw VARCHAR, "
        "utf8 BOOLEAN)"
    )
    if layout.format == "parquet":
        for number, file in enumerate(files):
            _find_parquet_rows(connection, number, file)
    else:
        _find_lines(connection, files, layout)
    not_json = "false"
    if layout.format == "jsonl":
        not_json = "CASE WHEN json_valid(raw) THEN json_type(raw) <> 'OBJECT' ELSE true END"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE quarantined AS
        SELECT file, line, left(raw, {_LONGEST_RAW}) AS raw, homeless, CASE
            WHEN NOT utf8 THEN '{NOT_UTF8}' WHEN {not_json} THEN '{NOT_JSON}' ELSE reason
            END AS reason
        FROM refused JOIN raw_lines USING (file, record)
        ORDER BY file, line"""
    )


def check_any_parsed(
    connection: "duckdb.DuckDBPyConnection",
    files: Sequence[SourceFile],
    layout: Layout,
    total: int,
    refused: str,
) -> None:
    """See that at least one of `total` lines is what the format says; `refused` has `reason`.

    Raises:
        SourceError: none is; the whole delivery is of another format or encoding.
    """
    unparsed = connection.execute(
        f"SELECT count(*), any_value(reason) FROM {refused} WHERE reason IN (?, ?, ?, ?, ?)",
        [NOT_JSON, NOT_UTF8, WRONG_COLUMNS, UNBALANCED_QUOTES, TOO_LONG],
    ).fetchone()
    if unparsed and unparsed[0] == total:
        raise SourceError(
            f"{files[0].path}: none of its {total:,} lines can be parsed as {layout.format} "
            f"({unparsed[1]}). Check `source.format` and the file's encoding (UTF-8), deliver the "
            "file again, then repeat the day."
        )


def _land_rejects(
    connection: "duckdb.DuckDBPyConnection", files: Sequence[SourceFile], layout: Layout
) -> None:
    """Create `rejects` (file, record, place, span, reason): lines that are no table row at all.

    Records count down from -1 in the order of the lines, as `lines_at_bytes` numbers them.
    """
    reasons = " ".join(f"WHEN '{kind}' THEN '{reason}'" for kind, reason in _REJECTED.items())
    rejected = "SELECT 0 AS file, 0 AS place, 0 AS span, '' AS reason WHERE false"
    if layout.separated:
        paths = texts([str(file.path) for file in files])
        body = "trim(csv_line, chr(10))"
        rejected = f"""
        SELECT list_position({paths}, file_path) - 1 AS file, line_byte_position AS place,
            max(length({body}) - length(replace({body}, chr(10), ''))) AS span,
            first(CASE error_type::VARCHAR {reasons} ELSE '{WRONG_COLUMNS}' END
                ORDER BY column_idx) AS reason
        FROM reject_errors JOIN reject_scans USING (scan_id, file_id)
        WHERE list_contains({paths}, file_path) GROUP BY ALL"""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE rejects AS
        SELECT *, -row_number() OVER (PARTITION BY file ORDER BY place) AS record
        FROM ({rejected})"""
    )


def _find_parquet_rows(
    connection: "duckdb.DuckDBPyConnection", number: int, file: SourceFile
) -> None:
    path = text(str(file.path))
    connection.execute(
        f"""INSERT INTO raw_lines
        SELECT {number}, file_row_number, file_row_number + 1,
            to_json(struct_pack(*COLUMNS(* EXCLUDE file_row_number))), true
        FROM read_parquet({path}, file_row_number = true, binary_as_string = true)
        WHERE file_row_number IN (SELECT record FROM refused WHERE file = {number})"""
    )


def _find_lines(
    connection: "duckdb.DuckDBPyConnection", files: Sequence[SourceFile], layout: Layout
) -> None:
    rejects = [
        _numbers(
            connection, f"SELECT place, span FROM rejects WHERE file = {number} ORDER BY place"
        )
        for number in range(len(files))
    ]
    at_bytes = (
        lines_at_bytes(file.path, number, found["place"], found["span"])
        for number, (file, found) in enumerate(zip(files, rejects, strict=True))
        if len(found["place"])
    )
    _insert(connection, itertools.chain.from_iterable(at_bytes))
    places = [_places(connection, number, file, layout) for number, file in enumerate(files)]
    of_records = (
        lines_of_records(file.path, number, **found)
        for number, (file, found) in enumerate(zip(files, places, strict=True))
        if found is not None
    )
    _insert(connection, itertools.chain.from_iterable(of_records))


def _places(
    connection: "duckdb.DuckDBPyConnection", number: int, file: SourceFile, layout: Layout
) -> dict[str, Any] | None:
    """Where the refused records of one file stand, for `lines_of_records`; None without any."""
    records = _numbers(
        connection,
        f"SELECT DISTINCT record FROM refused WHERE file = {number} AND record >= 0 ORDER BY record",
    )["record"]
    if not len(records):
        return None
    taken = _numbers(
        connection,
        "SELECT unnest(range(line, line + span + 1)) AS line FROM rejects JOIN raw_lines "
        f"USING (file, record) WHERE file = {number}",
    )["line"]
    skipped = np.append(taken, 1) if layout.separated and not layout.headless else taken
    extra = _extra_lines(connection, file, layout)
    # A record's line is shifted by the line breaks inside the quotes of the records before it.
    before = np.concatenate([[0], np.cumsum(extra["extra"])])
    places = records + before[np.searchsorted(extra["record"], records)]
    return {"places": places, "records": records, "skipped": skipped, "blanks": len(before) > 1}


def _insert(connection: "duckdb.DuckDBPyConnection", batches: Iterator[pa.RecordBatch]) -> None:
    waiting: list[pa.RecordBatch] = []
    waiting_bytes = 0
    for batch in itertools.chain(batches, [None]):
        if batch is not None:
            waiting.append(batch)
            waiting_bytes += batch.nbytes
        if waiting and (batch is None or waiting_bytes > _WAITING_BYTES):
            connection.register("found_lines", pa.Table.from_batches(waiting))
            connection.execute("INSERT INTO raw_lines SELECT * FROM found_lines")
            connection.unregister("found_lines")
            waiting, waiting_bytes = [], 0


def _extra_lines(
    connection: "duckdb.DuckDBPyConnection", file: SourceFile, layout: Layout
) -> dict[str, Integers]:
    """Of the records that span several lines: their number in the file and the lines beyond one."""
    if layout.format not in ("csv", "tsv"):
        return {"record": np.zeros(0, np.int64), "extra": np.zeros(0, np.int64)}
    reader = reader_of(connection, file.path, layout)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE breaks AS
        SELECT length(row) - length(replace(row, chr(10), '')) AS extra
        FROM (SELECT concat_ws('', *COLUMNS(*)) AS row FROM {reader})"""
    )
    return _numbers(connection, "SELECT rowid AS record, extra FROM breaks WHERE extra > 0")


def _numbers(connection: "duckdb.DuckDBPyConnection", query: str) -> dict[str, Integers]:
    columns = connection.execute(query).fetchnumpy()
    return {key: np.asarray(values, dtype=np.int64) for key, values in columns.items()}
