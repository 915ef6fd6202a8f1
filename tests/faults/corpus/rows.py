"""Bad rows among good ones: all of them lie in one day's file, and one run answers for all.

Beside them, days that are nothing but bad, or too bad.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.case import GOOD_ROWS, Bad, Case, as_lines, write

NOT_JSON = "not a JSON object"
NOT_UTF8 = "not UTF-8"
FUTURE = "event_time is in the future"
LATE = "too late: event_time is more than 3 days before the file's day"
UNREADABLE = "event_time cannot be read"
NO_LABEL = "label is not 0 or 1"
NO_POSITION = "position is not a whole number"
NO_HISTORY = "history is not a list of items"
DUPLICATE = "a duplicate"
"""Not refused but dropped, and counted: the first of its kind stays as it was."""

AGAIN = "again-1"
"""The id of what comes again."""


@dataclass(frozen=True)
class BadRow:
    """One line of a file, and the reason with which it has to be refused."""

    name: str
    line: bytes | dict[str, Any]
    """As it is, or what differs from a good one."""
    reason: str | None
    """None where it is odd but good: then it is published with every value as it was."""


ROWS = [
    BadRow("no user", {"user_id": None}, "user_id is missing"),
    BadRow("an empty user", {"user_id": ""}, "user_id is missing"),
    BadRow("an object as user", {"user_id": {"id": "u1"}}, "user_id is not plain text"),
    BadRow("no item", {"item_id": None}, "item_id is missing"),
    BadRow("a list as item", {"item_id": ["n1"]}, "item_id is not plain text"),
    BadRow("no time", {"event_time": None}, "event_time is missing"),
    BadRow("a time in words", {"event_time": "yesterday"}, UNREADABLE),
    BadRow("a date that does not exist", {"event_time": "2026-02-30T10:00:00Z"}, UNREADABLE),
    BadRow("an hour that does not exist", {"event_time": "2026-03-03T25:00:00Z"}, UNREADABLE),
    BadRow("seconds since an hour ago", {"event_time": 3600}, UNREADABLE),
    BadRow("a time of 1e300", {"event_time": 1e300}, UNREADABLE),
    BadRow("the year 9999", {"event_time": "9999-12-31T23:59:59Z"}, FUTURE),
    BadRow("an infinite time", {"event_time": "infinity"}, FUTURE),
    BadRow("the year 1", {"event_time": "0001-01-01T00:00:00Z"}, LATE),
    BadRow("1970", {"event_time": "1970-01-01T00:00:00Z"}, LATE),
    BadRow("no label", {"label": None}, "label is missing"),
    BadRow("label 2", {"label": 2}, NO_LABEL),
    BadRow("label -1", {"label": -1}, NO_LABEL),
    BadRow("label 0.6", {"label": 0.6}, NO_LABEL),
    BadRow("label yes", {"label": "yes"}, NO_LABEL),
    BadRow("label NaN", {"label": float("nan")}, NO_LABEL),
    BadRow("a negative position", {"position": -1}, NO_POSITION),
    BadRow("a position of 3 billion", {"position": 3_000_000_000}, NO_POSITION),
    BadRow("a position in words", {"position": "first"}, NO_POSITION),
    BadRow("an endless dwell", {"dwell_seconds": "Infinity"}, "dwell_seconds is not a number"),
    BadRow("an object as history", {"history": {"n1": 1}}, NO_HISTORY),
    BadRow("a history that is cut off", {"history": '["n1", '}, NO_HISTORY),
    BadRow("a number as line", b"7", NOT_JSON),
    BadRow("a text as line", b'"u1"', NOT_JSON),
    BadRow("a list as line", b'["u1", "n1"]', NOT_JSON),
    BadRow("half an object", b'{"user_id": "u1", "item_', NOT_JSON),
    BadRow("two objects on a line", b'{"label": 0}{"label": 1}', NOT_JSON),
    BadRow("brackets, ten thousand deep", b"[" * 10_000, NOT_JSON),
    BadRow("a NUL byte", b'{"user_id": "\0"}', NOT_JSON),
    BadRow("Latin-1", '{"user_id": "café"}'.encode("latin-1"), NOT_UTF8),
    BadRow("a user named like SQL", {"user_id": "'; DROP TABLE events; --"}, None),
    BadRow("a user named like HTML", {"user_id": "<script>alert(1)</script>"}, None),
    BadRow("a user with quotes", {"user_id": 'a "quoted", \\ user\''}, None),
    BadRow("a user with line breaks", {"user_id": "two\nlines\r\n\ttab"}, None),
    BadRow("a user with control characters", {"user_id": "bell\x07 escape\x1b[31m"}, None),
    BadRow("a user of 100,000 letters", {"user_id": "u" * 100_000}, None),
    BadRow("a user that is a number", {"user_id": 9_007_199_254_740_993}, None),
    BadRow("a time without a zone", {"event_time": "2026-03-03 10:00:00"}, None),
    BadRow("a column that nobody knows", {"colour": {"r": [1, 2]}}, None),
    BadRow("an event that comes again", {"event_id": AGAIN}, DUPLICATE),
    BadRow("an event again, with the other label", {"event_id": AGAIN, "label": 1}, DUPLICATE),
]
"""Candidates; what is not said is as in `GOOD_ROW`."""

ITEMS = [
    BadRow("an item without an id", {"item_id": None}, "item_id is missing"),
    BadRow("an item with a list as id", {"item_id": ["n1"]}, "item_id is not plain text"),
    BadRow("an item without a title", {"title": None}, "title is missing"),
    BadRow("an item of a blank title", {"title": "  "}, "title is missing"),
    BadRow("an item published soon", {"published_at": "soon"}, "published_at cannot be read"),
    BadRow("an item updated never", {"updated_at": "never"}, "updated_at cannot be read"),
    BadRow("an item that is a text", b'"n1"', NOT_JSON),
    BadRow("an item in Latin-1", '{"title": "café"}'.encode("latin-1"), NOT_UTF8),
    BadRow("an item whose id is a number", {"item_id": 1234567890123456789}, None),
    BadRow("an item titled in HTML", {"title": "<script>alert(1)</script>"}, None),
    BadRow("an item with a title of a megabyte", {"title": "Very long. " * 95_000}, None),
    BadRow("an item that comes again", {"item_id": AGAIN, "title": "Its last title"}, None),
]
"""Of the catalogue; what is not said is as in `GOOD_ITEM`."""


GOOD_ROW = {
    "event_time": "2026-03-03T10:00:00Z",
    "user_id": "u1",
    "item_id": "n175",
    "position": 1,
    "label": 0,
}
GOOD_ITEM = {"title": "A good title", "published_at": "2026-03-03T00:00:00Z"}


@dataclass(frozen=True)
class Placed:
    """A bad row where it stands in its file."""

    row: BadRow
    line: int
    raw: bytes


def spread(case: Case) -> tuple[list[Placed], list[Placed]]:
    """Put the bad rows and items between the good ones of the day."""
    rows = [_delivered(row, GOOD_ROW, "event_id", f"bad-{n}") for n, row in enumerate(ROWS)]
    items = [_delivered(item, GOOD_ITEM, "item_id", f"odd-{n}") for n, item in enumerate(ITEMS)]
    # What comes again has to have been there before.
    _put(case.log, 1, json.dumps(GOOD_ROW | {"event_id": AGAIN}).encode())
    _put(case.catalogue, 1, json.dumps(GOOD_ITEM | {"item_id": AGAIN}).encode())
    return (
        [
            _placed(case.log, n, row, raw)
            for n, (row, raw) in enumerate(zip(ROWS, rows, strict=True))
        ],
        [
            _placed(case.catalogue, n, item, raw)
            for n, (item, raw) in enumerate(zip(ITEMS, items, strict=True))
        ],
    )


def _delivered(row: BadRow, good: dict[str, Any], key: str, name: str) -> bytes:
    if isinstance(row.line, bytes):
        return row.line
    return json.dumps({key: name} | good | row.line).encode()


def _placed(path: Path, number: int, row: BadRow, raw: bytes) -> Placed:
    line = 2 * number + 2
    _put(path, line, raw)
    return Placed(row, line, raw)


def _put(path: Path, line: int, raw: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    write(path, b"\n".join([*lines[: line - 1], raw, *lines[line - 1 :]]))


def labelled(share: float) -> Any:
    """The first rows of the day have a label that is none."""

    def damage(case: Case) -> None:
        rows = case.rows()
        bad = round(share * len(rows))
        write(case.log, as_lines([r | {"label": 7} for r in rows[:bad]] + rows[bad:]))

    return damage


def clocks_go_back(case: Case) -> None:
    """Times without a zone in the hour that Berlin has twice, and in the one it has not."""
    for day in ("2025-10-26", "2025-03-30"):
        folder = case.log.parents[1] / day
        folder.mkdir()
        rows = [
            row | {"event_id": f"{day}-{n}", "event_time": f"{day}T02:{n % 60:02d}:00"}
            for n, row in enumerate(case.rows())
        ]
        write(folder / "rows.jsonl", as_lines(rows))
        write(case.catalogue.with_stem(day), case.catalogue.read_bytes())
    case.configure(source={"time_zone": "Europe/Berlin"})


ALL_BAD = (
    "264 × label is not 0 or 1",
    "264 of 264 rows of 2026-03-03 were refused (100%; validate.max_quarantined is 20%)",
    "Repair the source, then run the day again",
)

STEP = "Repair the source, then run the day again"

DAYS = [
    Bad(
        *("row", "every row bad"),
        ("264 × label is not 0 or 1", "were refused (100%; validate.max_quarantined is 20%)", STEP),
        labelled(1.0),
    ),
    Bad(
        *("row", "21 % of the rows bad"),
        ("55 × label is not 0 or 1", "(21%; validate.max_quarantined is 20%)", STEP),
        labelled(0.21),
    ),
    *(
        Bad(
            *("row", name),
            ("264 rows read", "264 to publish + 0 quarantined"),
            clocks_go_back,
            ("run", "portal", "--day", day, "--json"),
            code=0,
            published=GOOD_ROWS,
        )
        for name, day in (
            ("times in the hour that comes twice", "2025-10-26"),
            ("times in the hour that never comes", "2025-03-30"),
        )
    ),
]
