"""The table that ends a run in the terminal: a line a day."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tasks.report import words
from tasks.report.words import Record

if TYPE_CHECKING:
    from rich.table import Table

MAX_WIDTH = 150
"""Columns of a plain line."""
COLUMNS: dict[str, Callable[[Record], str]] = {
    "day": lambda record: words.clip(record.get("day"), 10),
    "rows": lambda record: words.count(record.get("published")),
    "quar.": lambda record: words.count(record.get("quarantined")),
    "drift": words.drift_words,
    "trigger": lambda record: gist(words.trigger_words(record)),
    "AUC": lambda record: words.decimal(record.get("champion_auc")),
    "zero-shot": lambda record: words.decimal(record.get("zero_shot_auc")),
    "gain": lambda record: words.gain_words(record.get("contest"), 3).replace(" to ", " "),
    "verdict": lambda record: words.verdict_words(record).short,
    "s": lambda record: words.decimal(words.total_seconds(record), 1),
}
NARROW = ("day", "rows", "AUC", "zero-shot", "gain", "verdict")
"""Columns that fit a terminal of NARROW_WIDTH."""
NARROW_WIDTH = 80
NUMBERS = {"rows", "quar.", "AUC", "zero-shot", "gain", "s"}
SHRINKING = ("trigger", "drift", "verdict")
"""Columns of prose: cut in plain lines, the first one first, and wrapped in a terminal."""
COLOURS = {"good": "green", "warn": "yellow", "bad": "red", "calm": "default"}


def gist(reasons: str) -> str:
    """The first of several reasons, without its figures in brackets: the page has them all."""
    return words.clip(re.sub(r" \([^)]*\)", "", reasons).split(";")[0], 56)


def summary_table(records: Sequence[Record]) -> Table:
    """A line a day: rows, drift, trigger, the champion's AUC beside zero-shot's, gain, verdict."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=_caption(records))
    for name in COLUMNS:
        table.add_column(
            name.replace("zero-shot", "zero-\nshot"),
            justify="right" if name in NUMBERS else "left",
            no_wrap=name not in SHRINKING,
            overflow="fold",
        )
    for record in records:
        cells = {name: Text(words.visible(say(record))) for name, say in COLUMNS.items()}
        # Prose wraps beside it anyway, and needs the room more than the interval does.
        cells["gain"] = Text(str(cells["gain"]).replace(" (", "\n("))
        cells["verdict"].stylize(COLOURS[words.verdict_words(record).tone])
        if words.drifted_columns(record):
            cells["drift"].stylize("yellow")
        table.add_row(*cells.values())
    return table


def plain_lines(records: Sequence[Record]) -> list[str]:
    """The same table for files and pipes: a heading and one line a day, 150 columns at most."""
    return [*_lines(records, list(COLUMNS), MAX_WIDTH), _caption(records)]


def narrow_lines(records: Sequence[Record]) -> list[str]:
    """The columns that say how a day went, in NARROW_WIDTH columns."""
    return _lines(records, NARROW, NARROW_WIDTH)


def _lines(records: Sequence[Record], names: Sequence[str], most: int) -> list[str]:
    rows = [[words.visible(COLUMNS[name](record)) for name in names] for record in records]
    widths = _fit([list(names), *rows], names, most)
    return [
        "  ".join(
            _cell(text, width, name) for text, width, name in zip(row, widths, names, strict=True)
        ).rstrip()
        for row in [list(names), *rows]
    ]


def _fit(rows: Sequence[Sequence[str]], names: Sequence[str], most: int) -> list[int]:
    """Width of each column: its longest text, prose cut until a line fits."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name in [name for name in SHRINKING if name in names]:
        excess = sum(widths) + 2 * (len(widths) - 1) - most
        at = list(names).index(name)
        widths[at] = min(widths[at], max(12, widths[at] - max(excess, 0)))
    return widths


def _cell(text: str, width: int, name: str) -> str:
    cut = words.clip(text, width)
    return cut.rjust(width) if name in NUMBERS else cut.ljust(width)


def _caption(records: Sequence[Record]) -> str:
    confidences = {words.percent_whole(c["confidence"]) for r in records if (c := r.get("contest"))}
    interval = f"{' or '.join(sorted(confidences))} interval" if confidences else "interval"
    return (
        "AUC: mean within impressions, champion before training on the day; "
        f"gain: challenger over champion ({interval})"
    )
