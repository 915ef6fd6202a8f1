"""Interaction files that are not what the config says, or cannot be read at all."""

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.case import COMPLETE, GOOD_ROWS, Bad, Case, Damage, write

COLUMNS = ("event_id", "event_time", "impression_id", "user_id", "item_id", "label")


def holds(make: Callable[[Case], bytes | str], name: str = "rows.jsonl") -> Damage:
    """The day's file is called `name` and holds what `make` makes of the good one."""
    return lambda case: case.deliver(make(case), name)


def in_format(form: str, make: Callable[[Case], bytes | str]) -> Damage:
    """As `holds`, for another format, with the catalogue in it too: a source has one format."""

    def damage(case: Case) -> None:
        items = case.items()
        whole = to_parquet(items) if form == "parquet" else to_csv(items, tuple(items[0]))
        write(case.catalogue.with_suffix(f".{form}"), whole)
        case.deliver(make(case), f"rows.{form}")
        case.configure(source={"format": form, "items": f"logs/items/{{date}}.{form}"})

    return damage


def to_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str], delimiter: str = ",") -> str:
    cells = [[f'"{row[column]}"' for column in columns] for row in rows]
    return "".join(delimiter.join(line) + "\n" for line in [columns, *cells])


def to_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    return sink.getvalue()


def csv(case: Case, columns: Sequence[str] = COLUMNS, delimiter: str = ",") -> str:
    return to_csv(case.rows(), columns, delimiter)


def parquet(case: Case) -> bytes:
    return to_parquet(case.rows())


def text(case: Case) -> str:
    return case.log.read_text()


def raw(case: Case) -> bytes:
    return case.log.read_bytes()


def packed(case: Case) -> bytes:
    return gzip.compress(raw(case))


def packed_zst(case: Case) -> bytes:
    return pa.Codec("zstd").compress(raw(case), asbytes=True)


def zipped(case: Case) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.write(case.log, "rows.jsonl")
    return sink.getvalue()


def overwritten(whole: bytes, place: int) -> bytes:
    return whole[:place] + b"\xff" * 16 + whole[place + 16 :]


def damaged_footer(case: Case) -> bytes:
    whole = parquet(case)
    length = int.from_bytes(whole[-8:-4], "little")
    return overwritten(whole, len(whole) - 8 - length)


def damaged_page(case: Case) -> bytes:
    return overwritten(parquet(case), 300)


def nested_ids(case: Case) -> bytes:
    return to_parquet([row | {"user_id": {"id": row["user_id"]}} for row in case.rows()])


def open_quote(case: Case) -> str:
    header, *lines = csv(case).replace('"', "").splitlines(keepends=True)
    return header + '"' + "".join(lines)


def short_rows(case: Case) -> str:
    header, *lines = csv(case).splitlines()
    return "\n".join([header, *(line.rsplit(",", 1)[0] for line in lines)])


def long_line(megabytes: int) -> Damage:
    """A line as long as that between the good ones, packed: it is all one letter."""

    def make(case: Case) -> bytes:
        lines = raw(case).splitlines(keepends=True)
        return gzip.compress(b"".join([*lines[:9], b"x" * (megabytes << 20) + b"\n", *lines[9:]]))

    return holds(make, "rows.jsonl.gz")


def yesterdays(case: Case) -> str:
    return (case.log.parents[1] / str(COMPLETE) / "rows.jsonl").read_text()


def folder_in_its_place(case: Case) -> None:
    case.log.unlink()
    case.log.mkdir()


def unreadable(case: Case) -> None:
    case.log.chmod(0)
    if os.access(case.log, os.R_OK):  # root may read everything, except what the kernel refuses
        case.log.unlink()
        case.log.symlink_to("/proc/self/mem")


def link_to_itself(case: Case) -> None:
    case.log.unlink()
    case.log.symlink_to(case.log)


def link_to_nothing(case: Case) -> None:
    case.log.unlink()
    case.log.symlink_to("moved-away.jsonl")


def pipe_in_its_place(case: Case) -> None:
    case.log.unlink()
    os.mkfifo(case.log)


def name_that_is_no_text(case: Case) -> None:
    case.deliver(raw(case))
    case.log.rename(os.fsdecode(os.fsencode(case.log.parent) + b"/caf\xe9.jsonl"))


def twice_under_two_names(case: Case) -> None:
    case.deliver(raw(case))
    write(case.log.with_name("o'clock\n;--.jsonl"), raw(case))


def stops(name: str, damage: Damage, *says: str) -> Bad:
    return Bad("file", name, says, damage)


def passes(name: str, damage: Damage, *says: str) -> Bad:
    """The right answer is to take the good rows and to account for the others."""
    return Bad("file", name, says, damage, code=0, published=GOOD_ROWS)


AGAIN = "then repeat the day"
UNPACK = "rename or unpack the file"
DELIVER = "Deliver it, or run a day that has one"
CHECK = "Check `source.format` and the file's encoding (UTF-8), deliver the file again"
REPAIR = "Repair the source"
CLOCK = f"{REPAIR} (or this machine's clock, if it is not 20"

FILES = [
    stops("empty", holds(lambda _: ""), "rows.jsonl", "is empty", "Deliver the file again"),
    stops(
        "only blank lines", holds(lambda _: "\n\n \n"), "rows.jsonl", "holds no rows", "Deliver it"
    ),
    stops(
        "truncated gzip",
        holds(lambda case: packed(case)[:-40], "rows.jsonl.gz"),
        *("rows.jsonl.gz", "truncated or damaged", "Deliver the file again"),
    ),
    stops(
        "text that is named .gz",
        holds(raw, "rows.jsonl.gz"),
        *("rows.jsonl.gz", "incorrect header check", "Deliver the file again"),
    ),
    stops(
        "packed twice",
        holds(lambda case: gzip.compress(packed(case)), "rows.jsonl.gz"),
        *("rows.jsonl.gz is gzip", "`source.format` is jsonl", UNPACK),
    ),
    stops(
        "gzip without its suffix",
        holds(packed),
        *("rows.jsonl is gzip", "without the suffix .gz", UNPACK),
    ),
    stops(
        "garbage that is named .zst",
        holds(lambda _: b"garbage" * 500, "rows.jsonl.zst"),
        *("rows.jsonl.zst", "ZSTD decompress failed", "Deliver the file again"),
    ),
    stops(
        "truncated zst",
        holds(lambda case: packed_zst(case)[:-20], "rows.jsonl.zst"),
        *("rows.jsonl.zst", "Truncated compressed stream", "Deliver the file again"),
    ),
    stops("a zip archive", holds(zipped), "is a zip archive", "`source.format` is jsonl", UNPACK),
    stops(
        "UTF-16 with its mark",
        holds(lambda case: text(case).encode("utf-16")),
        *("rows.jsonl is UTF-16", "logs must be UTF-8", "Convert it (iconv -t UTF-8)"),
    ),
    stops(
        "UTF-16 without its mark",
        holds(lambda case: text(case).encode("utf-16-le")),
        *("none of its 265 lines", "can be parsed as jsonl", CHECK),
    ),
    passes(
        "UTF-8 with a byte order mark",
        holds(lambda case: b"\xef\xbb\xbf" + raw(case)),
        *("264 rows read", "264 to publish + 0 quarantined"),
    ),
    stops(
        "nothing but NUL bytes",
        holds(lambda _: bytes(5_000)),
        *("none of its 1 lines", "not a JSON object", CHECK),
    ),
    stops(
        "a login page",
        holds(lambda _: "<!DOCTYPE html>\n<title>Log in</title>\n<p>Your session expired</p>\n"),
        *("none of its 3 lines", "not a JSON object", CHECK),
    ),
    stops(
        "a JSON array on one line",
        holds(lambda case: json.dumps(case.rows())),
        *("none of its 1 lines", "not a JSON object", CHECK),
    ),
    stops(
        "a JSON array over many lines",
        holds(lambda case: json.dumps(case.rows(), indent=1)),
        *("none of its 2,667 lines", "not a JSON object", CHECK),
    ),
    passes("a line of 50 MB", long_line(50), "1 × not a JSON object", "1 quarantined", REPAIR),
    stops(
        "a line of 70 MB",
        long_line(70),
        *("rows.jsonl.gz", '"maximum_object_size" of 33554432 bytes exceeded', AGAIN),
    ),
    stops(
        "a renamed column",
        holds(lambda case: text(case).replace('"label"', '"clicked"')),
        *("no column 'label'", "Found: 'event_id'", "Name it in `source.columns`: {label:"),
    ),
    stops(
        "yesterday's file again",
        holds(yesterdays),
        *("0 to publish", "ExpectTableRowCountToBeBetween: 0, at least 1", REPAIR),
    ),
    stops(
        "the file of a later year",
        holds(lambda case: text(case).replace("2026-03", "2099-03")),
        *("264 × event_time is in the future", "max_quarantined is 20%", CLOCK),
    ),
    stops(
        "no file of the day",
        lambda case: case.log.unlink(),
        *("No file for 2026-03-03", "rows.jsonl. ", f"{DELIVER}; the nearest are 2026-03-02"),
    ),
    stops("a folder in its place", folder_in_its_place, "rows.jsonl", "is a folder", DELIVER),
    stops(
        "a named pipe in its place", pipe_in_its_place, "rows.jsonl", "is no regular file", DELIVER
    ),
    stops("not readable", unreadable, "rows.jsonl", "cannot be read", "Check its permissions"),
    stops("a link to itself", link_to_itself, "rows.jsonl", "leads to no file", DELIVER),
    stops("a link to nothing", link_to_nothing, "rows.jsonl", "leads to no file", DELIVER),
    stops(
        "a name that is not UTF-8",
        name_that_is_no_text,
        *("caf\\udce9.jsonl", "is a name that is not UTF-8", "Rename the file"),
    ),
    stops(
        "glob characters in its name",
        holds(raw, "rows[1].jsonl"),
        *("rows[1].jsonl", "glob character (* ? [)", "Rename it"),
    ),
    passes(
        "twice, once with a quote and a line break in its name",
        twice_under_two_names,
        *("528 rows read", "264 duplicates"),
    ),
    stops(
        "Parquet of other columns",
        in_format("parquet", lambda _: to_parquet([{"customer": "a", "amount": 1.5}])),
        *("Found: 'customer', 'amount'", "no column 'event_time'", "Name it in `source.columns`"),
    ),
    stops(
        "Parquet with nested ids",
        in_format("parquet", nested_ids),
        *("264 × user_id is not plain text", "max_quarantined is 20%", REPAIR),
    ),
    stops(
        "Parquet with a damaged footer",
        in_format("parquet", damaged_footer),
        *("rows.parquet", "cannot be read as parquet", AGAIN),
    ),
    stops(
        "Parquet with a damaged page",
        in_format("parquet", damaged_page),
        *("rows.parquet", "cannot be read as parquet", AGAIN),
    ),
    stops(
        "truncated Parquet",
        in_format("parquet", lambda case: parquet(case)[:-100]),
        *("rows.parquet", "is not a whole Parquet file", "Deliver it again"),
    ),
    stops(
        "Parquet where JSON lines are configured",
        holds(parquet),
        *("rows.jsonl is Parquet", "`source.format` is jsonl", "Set the format"),
    ),
    stops(
        "CSV with semicolons",
        in_format("csv", lambda case: csv(case, delimiter=";")),
        *("'event_id;event_time", "separated by ';'", "write the file with ','"),
    ),
    stops(
        "CSV without a header",
        in_format("csv", lambda case: csv(case).split("\n", 1)[1]),
        *("Found: '20260303-0-1'", "no column 'event_time'", "Give the file a header line"),
    ),
    stops(
        "CSV with a column twice",
        in_format("csv", lambda case: csv(case, (*COLUMNS, "label"))),
        *("the column 'label' twice", "names must differ", "Rename one of them"),
    ),
    stops(
        "CSV with nothing but a header",
        in_format("csv", lambda case: csv(case).split("\n")[0] + "\n"),
        *("rows.csv", "holds no rows", "Deliver it again"),
    ),
    stops(
        "CSV with a quote that is never closed",
        in_format("csv", open_quote),
        *("none of its 1 lines", "unbalanced quotes", CHECK),
    ),
    stops(
        "CSV whose rows are all too short",
        in_format("csv", short_rows),
        *("none of its 264 lines", "wrong number of columns", CHECK),
    ),
]
