"""Where a day's logs and catalogue lie: locations with a `{date}`, files, fingerprints."""

import difflib
import glob
import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

from tasks.errors import ConfigError, SourceError
from tasks.interactions.rows import WANTED
from tasks.interactions.schema import ITEMS

FORMATS = ("jsonl", "csv", "tsv", "parquet", "mind")

_DATE = re.compile(r"\{date(?::([^{}]+))?\}")
_SOME_DAY = date(2003, 11, 25)
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Source:
    """How to read one pipeline's logs and catalogue.

    Locations are paths or globs; `{date}` (or `{date:%Y%m%d}`) stands for the day. A location
    without it holds many days, and each day takes its own rows.
    """

    format: str
    """jsonl, csv, tsv, parquet or mind; `.gz` and `.zst` are recognised by suffix."""
    interactions: str
    items: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our column name to the log's, for those that differ."""
    item_columns: Mapping[str, str] = field(default_factory=dict)
    """Our column name to the catalogue's, for those that differ."""
    time_zone: str = "UTC"
    """Where a day begins, and the zone of times that name none."""
    late_days: int = 3
    """Events up to so many days before the file's day go to their own day's partition."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a day: where it is, how it is called in `source`, and what it holds."""

    path: Path
    name: str
    """The path below the location's fixed part, so that it is the same on every machine."""
    bytes: int
    sha256: str


def check_source(source: Source) -> None:
    """Find every fault of `source` that needs no file to be seen.

    Raises:
        ConfigError: a location's date, or a column to rename, is none we know; all, one per line.
    """
    faults = [
        *_location_faults("source.interactions", source.interactions),
        *_location_faults("source.items", source.items),
        *_column_faults("source.columns", source.columns, WANTED),
        *_column_faults("source.item_columns", source.item_columns, tuple(ITEMS.names)),
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _location_faults(setting: str, location: str) -> list[str]:
    faults = [
        f"{setting}: {{{braced}}} is no date: write {{date}}, or {{date:%Y%m%d}} for another form"
        for braced in re.findall(r"\{([^{}]*)\}", _DATE.sub("", location))
    ]
    for form in filter(None, _DATE.findall(location)):
        try:
            told = datetime.strptime(_SOME_DAY.strftime(form), form).date() == _SOME_DAY
        except ValueError:
            told = False
        if not told:
            faults.append(
                f"{setting}: {{date:{form}}} does not tell a day: it needs year, month and day, "
                "such as {date:%Y%m%d}"
            )
    return faults


def _column_faults(setting: str, renamed: Mapping[str, str], ours: tuple[str, ...]) -> list[str]:
    faults = []
    for column in sorted(set(renamed) - set(ours)):
        close = difflib.get_close_matches(column, ours, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        faults.append(f"{setting} has no {column!r}{hint}: it may name {', '.join(ours)}")
    return faults


def is_daily(location: str) -> bool:
    """Whether the location names a day, so that its files belong to one."""
    return _DATE.search(location) is not None


def fill_date(location: str, day: date) -> str:
    """The location with `{date}` replaced by `day`, and `~` by the home folder."""
    filled = _DATE.sub(lambda match: day.strftime(match[1] or "%Y-%m-%d"), location)
    return str(Path(filled).expanduser())


def find_files(location: str, day: date) -> list[SourceFile]:
    """The files of `day`, by name, with their SHA-256.

    Raises:
        SourceError: there is none; the message names the nearest days that have one.
    """
    filled = fill_date(location, day)
    paths = [Path(filled)] if Path(filled).is_file() else []
    if not paths and _WILD.search(filled):
        paths = sorted(map(Path, glob.glob(filled, recursive=True)))  # noqa: PTH207
    others = [path for path in paths or [Path(filled)] if not path.is_file()]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        there = "".join(map(_instead, others))
        raise SourceError(f"No file for {day} at {filled}{there}. {_nearest(location, day)}")
    for path in paths:
        _check_name(path)
    root = _fixed_part(location)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda path: _describe(path, _name_below(path, root)), paths))


def fingerprint(source: Source, files: Sequence[SourceFile]) -> str:
    """Digest of everything that decides what a day's interactions are read to be.

    File names are left out: a renamed or moved file is the same log.
    """
    parts = [source.format, source.time_zone, str(source.late_days)]
    parts += [str(is_daily(source.interactions))]
    parts += [f"{ours}={theirs}" for ours, theirs in sorted(source.columns.items())]
    return digest_of([*parts, *(file.sha256 for file in files)])


def catalogue_fingerprint(source: Source, files: Sequence[SourceFile]) -> str:
    """Digest of everything that decides what a day's catalogue is read to be."""
    parts = [source.format, source.time_zone]
    parts += [f"{ours}={theirs}" for ours, theirs in sorted(source.item_columns.items())]
    return digest_of([*parts, *(file.sha256 for file in files)])


def digest_of(parts: Sequence[str]) -> str:
    """SHA-256 over the parts, with their boundaries."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def _describe(path: Path, name: str) -> SourceFile:
    stat = path.stat()
    return SourceFile(path, name, stat.st_size, _sha256(path, stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size: int, _changed_ns: int) -> str:
    """Of the file's bytes; planning, staging and recording a day ask for the same ones."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}. Check its permissions."
        ) from error


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise SourceError(f"{str(path)!r} is a name that is not UTF-8. Rename the file.") from None
    if _WILD.search(str(path)):
        raise SourceError(
            f"{path} has a glob character (* ? [) in its name, which would match other files "
            "too. Rename it."
        )


def _instead(path: Path) -> str:
    """What stands where a file should, if anything does."""
    if path.is_dir():
        return f": {path.name} is a folder"
    if path.is_symlink():
        return f": {path.name} is a link that leads to no file"
    return f": {path.name} is no regular file" if path.exists() else ""


def _fixed_part(location: str) -> Path:
    """The folder above the first `{date}` or wildcard."""
    moving = re.search(r"[{*?\[]", location)
    fixed = location[: moving.start()] if moving else location
    return Path(fixed[: fixed.rfind("/") + 1] or ".").expanduser()


def _name_below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _nearest(location: str, day: date) -> str:
    """What is there instead: the nearest days with a file, or that there is none at all."""
    if not is_daily(location):
        return "Check the location in `source`."
    found = sorted(_days_found(location), key=lambda other: abs((other - day).days))[:3]
    if not found:
        return "No other day has one either: check the location in `source`."
    days = ", ".join(map(str, sorted(found)))
    return f"Deliver it, or run a day that has one; the nearest are {days}."


def _days_found(location: str) -> set[date]:
    """The days for which the location matches a file."""
    before, form, after = _DATE.split(location, maxsplit=1)
    form = form or "%Y-%m-%d"
    pattern = str(Path(before + re.sub(r"%.", "*", form) + _DATE.sub("*", after)).expanduser())
    head = str(Path(before + "x").expanduser())[:-1]
    dated = re.compile(re.escape(head) + "(" + re.sub(r"%.", r"\\d+", re.escape(form)) + ")")
    days = set()
    for path in glob.glob(pattern, recursive=True):  # noqa: PTH207
        if (text := dated.match(path)) and Path(path).is_file():
            try:
                days.add(datetime.strptime(text[1], form).date())
            except ValueError:
                continue
    return days
