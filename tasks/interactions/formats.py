"""Formats of logs and catalogues: what a file must be, and how DuckDB reads it as our columns."""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

import csv
import difflib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import SourceError
from tasks.interactions.engine import name, text, texts
from tasks.interactions.lines import BLOCK_BYTES, open_plain
from tasks.interactions.source import SourceFile

if TYPE_CHECKING:
    import duckdb

_SIGNATURES = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip without the suffix .gz",
    b"\x28\xb5\x2f\xfd": "Zstandard without the suffix .zst",
    b"PK\x03\x04": "a zip archive",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_SAMPLED_LINES = 100
# DuckDB reads in pieces of twice this: with smaller ones, keeping the order costs a fifth more.
_OBJECT_BYTES = 32 << 20
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class Layout:
    """Which columns are wanted, which of them must be there, and what the files call them."""

    format: str
    wanted: tuple[str, ...]
    required: tuple[str, ...]
    renamed: Mapping[str, str]
    setting: str
    """The key of `source` that renames columns, for messages."""
    headless: tuple[str, ...] = ()
    """The columns of a file without a header, in order: MIND's."""

    def theirs(self, column: str) -> str:
        """The files' name of our column."""
        return self.renamed.get(column, column)

    @property
    def separated(self) -> bool:
        """Whether the format is a table of separated values."""
        return self.format in ("csv", "tsv", "mind")

    @property
    def delimiter(self) -> str:
        """What stands between separated values."""
        return "," if self.format == "csv" else "\t"


def check_files(files: Sequence[SourceFile], layout: Layout) -> None:
    """See that every file is what its suffix and the format say, down to its last byte.

    DuckDB reads a truncated Zstandard file without complaint, and does not check gzip's sums; so
    compressed files are decompressed once here.

    Raises:
        SourceError: empty, truncated, or of another format.
    """
    if not any(file.bytes for file in files):
        raise SourceError(f"{files[0].path} is empty. Deliver the file again, then repeat the day.")
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda file: _check_file(file.path, layout), files))


def _check_file(path: Path, layout: Layout) -> None:
    try:
        with open_plain(path) as stream:
            head = stream.read(4)
            if path.suffix in (".gz", ".zst"):
                while stream.read(BLOCK_BYTES):
                    pass
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read to its end ({error}): it is truncated or damaged. "
            "Deliver the file again, then repeat the day; nothing of it was published."
        ) from error
    found = next((what for sign, what in _SIGNATURES.items() if head.startswith(sign)), None)
    if layout.format == "parquet":
        if head and not _is_parquet(path):
            raise SourceError(
                f"{path} is not a whole Parquet file. Deliver it again or set `source.format`."
            )
    elif found == "UTF-16":
        raise SourceError(f"{path} is UTF-16; logs must be UTF-8. Convert it (iconv -t UTF-8).")
    elif found:
        raise SourceError(
            f"{path} is {found}, but `source.format` is {layout.format}. "
            "Set the format, or rename or unpack the file."
        )


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(4, path.stat().st_size - 4))
        return head == b"PAR1" and stream.read(4) == b"PAR1"


def selects(
    connection: "duckdb.DuckDBPyConnection", files: Sequence[SourceFile], layout: Layout
) -> Iterator[str]:
    """SELECT statements that read the files in order: `file` and the wanted columns as text.

    Consecutive files with the same columns share a statement, so DuckDB reads them in parallel.

    Raises:
        SourceError: a required or renamed column is not in a file's header.
    """
    if layout.format == "jsonl":
        yield from _json_selects(connection, files, layout)
        return
    headers = [_columns(connection, file.path, layout) for file in files]
    for columns, group in itertools.groupby(range(len(files)), key=lambda at: headers[at]):
        at = list(group)
        check_columns(files[at[0]].path, list(columns), layout)
        paths = texts([str(files[number].path) for number in at])
        if layout.format == "parquet":
            reader = f"read_parquet({paths}, binary_as_string = true)"
        else:
            reader = _separated_reader(paths, list(columns), layout)
        picked = ", ".join(_picked(column, columns, layout) for column in layout.wanted)
        yield f"SELECT {at[0]} + file_index::BIGINT AS file, {picked} FROM {reader}"


def reader_of(connection: "duckdb.DuckDBPyConnection", path: Path, layout: Layout) -> str:
    """SQL table function that reads one file of separated values with all of its columns."""
    columns = list(_columns(connection, path, layout))
    return _separated_reader(texts([str(path)]), columns, layout)


def check_columns(
    path: Path, found: list[str], layout: Layout, only: tuple[str, ...] | None = None
) -> None:
    """See that the file has every required and every renamed column, or those of them in `only`.

    Raises:
        SourceError: one is missing; the message names the closest of those found.
    """
    needed = dict.fromkeys([*layout.required, *(c for c in layout.wanted if c in layout.renamed)])
    for column in needed if only is None else only:
        theirs = layout.theirs(column)
        if theirs not in found:
            near = difflib.get_close_matches(theirs, found, n=1, cutoff=0.4)
            hint = f"; the closest is {near[0]!r}" if near else ""
            raise SourceError(
                f"{path} has no column {theirs!r} for {column}{hint}. "
                f"Found: {', '.join(map(repr, found)) or 'none'}. {_column_step(column, found, layout)}"
            )


def _column_step(column: str, found: list[str], layout: Layout) -> str:
    """What to do about a column that is not there."""
    other = next((sign for sign in ",;\t|" if len(found) == 1 and sign in found[0]), None)
    if layout.separated and other:
        return (
            f"Its values are separated by {other!r}, and those of {layout.format} by "
            f"{layout.delimiter!r}: write the file with {layout.delimiter!r}, or set `source.format`."
        )
    header = "Give the file a header line, or name" if layout.separated else "Name"
    return f"{header} it in `{layout.setting}`: {{{column}: <the file's name>}}."


def sample_keys(path: Path) -> list[str]:
    """The keys of the first JSON objects of a file, as they first appear."""
    keys: dict[str, None] = {}
    with open_plain(path) as stream:
        for line in stream.read(_HEADER_BYTES).split(b"\n")[:_SAMPLED_LINES]:
            try:
                row = json.loads(line.decode())
            except ValueError:
                continue
            if isinstance(row, dict):
                keys.update(dict.fromkeys(row))
    return list(keys)


def _json_selects(
    connection: "duckdb.DuckDBPyConnection", files: Sequence[SourceFile], layout: Layout
) -> Iterator[str]:
    marks = [_has_mark(file.path) for file in files]
    for marked, group in itertools.groupby(range(len(files)), key=lambda at: marks[at]):
        at = list(group)
        select = _json_select([files[number] for number in at], at[0], layout)
        if not marked:
            yield select
            continue
        # DuckDB 2.0 skips a byte order mark in one thread; with more, the first row is lost to it.
        ((threads,),) = connection.execute("SELECT current_setting('threads')").fetchall()
        connection.execute("SET threads = 1")
        yield select
        connection.execute(f"SET threads = {threads}")


def _has_mark(path: Path) -> bool:
    with open_plain(path) as stream:
        return stream.read(3) == b"\xef\xbb\xbf"


def _json_select(files: Sequence[SourceFile], first: int, layout: Layout) -> str:
    theirs = dict.fromkeys(layout.theirs(column) for column in layout.wanted)
    columns = ", ".join(f"{text(key)}: 'VARCHAR'" for key in theirs)
    picked = ", ".join(f"{name(layout.theirs(ours))} AS {ours}" for ours in layout.wanted)
    paths = texts([str(file.path) for file in files])
    # With ignore_errors a line that is no object comes as a row of NULLs, so none is lost.
    return (
        f"SELECT {first} + file_index::BIGINT AS file, {picked} FROM read_json({paths}, "
        f"columns = {{{columns}}}, format = 'newline_delimited', ignore_errors = true, "
        f"maximum_object_size = {_OBJECT_BYTES})"
    )


def _separated_reader(paths: str, columns: list[str], layout: Layout) -> str:
    quote = "" if layout.format == "mind" else '"'
    spec = ", ".join(f"{text(column)}: 'VARCHAR'" for column in columns)
    return (
        f"read_csv({paths}, auto_detect = false, columns = {{{spec}}}, "
        f"delim = {text(layout.delimiter)}, quote = {text(quote)}, escape = {text(quote)}, "
        f"header = {not layout.headless}, nullstr = '', store_rejects = true)"
    )


def _columns(
    connection: "duckdb.DuckDBPyConnection", path: Path, layout: Layout
) -> tuple[str, ...] | dict[str, str]:
    """The file's columns; of a Parquet file with their types."""
    if layout.headless:
        return layout.headless
    if layout.format == "parquet":
        described = connection.execute(
            f"DESCRIBE SELECT * FROM read_parquet({text(str(path))}, binary_as_string = true)"
        )
        return {row[0]: row[1] for row in described.fetchall()}
    with open_plain(path) as stream:
        head = stream.read(_HEADER_BYTES)
    try:
        lines = head.decode("utf-8-sig", "strict" if len(head) < _HEADER_BYTES else "ignore")
    except UnicodeDecodeError:
        lines = head.split(b"\n")[0].decode("latin-1")
    columns = next(csv.reader(lines.splitlines(), delimiter=layout.delimiter), [])
    repeated = {column for column in columns if columns.count(column) > 1}
    if repeated:
        raise SourceError(
            f"{path} has the column {sorted(repeated)[0]!r} twice in its header, where names must "
            "differ. Rename one of them where the file is made."
        )
    return tuple(columns)


def _picked(column: str, found: tuple[str, ...] | dict[str, str], layout: Layout) -> str:
    """SQL of one wanted column as text; NULL where the file does not have it."""
    theirs = layout.theirs(column)
    if theirs not in found:
        return f"NULL::VARCHAR AS {column}"
    kind = found[theirs] if isinstance(found, dict) else "VARCHAR"
    nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
    value = f"to_json({name(theirs)})" if nested else name(theirs)
    return f"{value}::VARCHAR AS {column}"
