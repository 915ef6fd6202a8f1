"""Catalogues that are missing, damaged, or say strange things of their items."""

import gzip
from collections.abc import Callable, Mapping
from typing import Any

from corpus.case import Bad, Case, Damage, as_lines, write

Item = Mapping[str, Any]


def each(change: Callable[[Item], Item]) -> Damage:
    """The catalogue with every item changed."""
    return lambda case: write(case.catalogue, as_lines([change(item) for item in case.items()]))


def without(key: str) -> Damage:
    return each(lambda item: {k: v for k, v in item.items() if k != key})


def content(text: str) -> Damage:
    return lambda case: write(case.catalogue, text)


def truncated(case: Case) -> None:
    packed = case.catalogue.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(case.catalogue.read_bytes())[:-9])
    case.configure(source={"items": "logs/items/{date}.jsonl.gz"})


def folder_in_its_place(case: Case) -> None:
    case.catalogue.unlink()
    case.catalogue.mkdir()


def rows_of_other_items(case: Case) -> None:
    rows = [row | {"item_id": f"foreign-{row['item_id']}"} for row in case.rows()]
    write(case.log, as_lines(rows))


def stops(name: str, damage: Damage, *says: str) -> Bad:
    return Bad("catalogue", name, says, damage)


UNKNOWN = "ExpectColumnValuesToBeInSet of item_id"
REPAIR = "Repair the source"

CATALOGUES = [
    stops(
        "missing",
        lambda case: case.catalogue.unlink(),
        *("2026-03-03.jsonl", "No file for 2026-03-03", "Deliver it"),
    ),
    stops("empty", content(""), "2026-03-03.jsonl", "is empty", "Deliver the file again"),
    stops(
        "CSV where JSON lines are configured",
        content("item_id,title\n1,x\n"),
        *("none of its 2 lines", "can be parsed as jsonl", "Check `source.format`"),
    ),
    stops(
        "truncated gzip",
        truncated,
        *("2026-03-03.jsonl.gz", "truncated or damaged", "Deliver the file again"),
    ),
    stops(
        "a folder in its place",
        folder_in_its_place,
        *("2026-03-03.jsonl", "is a folder", "Deliver it"),
    ),
    stops(
        "no titles at all",
        without("title"),
        *("no column 'title'", "Found: 'item_id'", "Name it in `source.item_columns`"),
    ),
    stops(
        "no ids at all",
        without("item_id"),
        *("no column 'item_id'", "Found: 'title'", "Name it in `source.item_columns`"),
    ),
    stops(
        "every title blank",
        each(lambda item: item | {"title": " "}),
        "33 × title is missing",
        *(UNKNOWN, REPAIR),
    ),
    stops(
        "every updated_at unreadable",
        each(lambda item: item | {"updated_at": "a while ago"}),
        *("33 × updated_at cannot be read", UNKNOWN, REPAIR),
    ),
    stops(
        "knows none of the day's items",
        rows_of_other_items,
        *("264 of 264, allowed 10 %; such as 20260303-0-1", UNKNOWN, REPAIR),
    ),
]
