"""Bad inputs through the real command line, and what it must answer to each.

    python tests/faults/bad_inputs.py [--kind file …] [--all]

prints one table: what was wrong, the exit code, the first line of the message, and what became of
the rows. It ends with 1 if an answer was not what the corpus asks for.
"""

import argparse
import io
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from corpus import CORPUS, ITEMS, ROWS
from corpus.case import COMPLETE, DAY, GOOD_ROWS, RUN, Bad, Case
from corpus.home import copy_case, lay_out
from corpus.rows import AGAIN, DUPLICATE, GOOD_ROW, Placed, spread

from tasks.environment import prepare_environment

prepare_environment()
# A base that is missing is looked for on the hub, which no test may depend on.
os.environ["HF_HUB_OFFLINE"] = "1"

Faults = dict[str, list[str]]
"""By what was asked; an empty list is a good answer."""

Public = Mapping[Any, dict[str, Any]]
"""Rows of a table by their key."""

OURS = ("Traceback", "This is a mistake of ours")
"""No operator may ever read these."""


@dataclass(frozen=True)
class Counted:
    """The rows of one day: by the journal, and by the tables."""

    read: int | None
    published: int
    quarantined: int
    duplicates: int | None
    recorded: tuple[int, int] | None
    """Published and quarantined by the journal; None where it does not know the day."""

    @property
    def faults(self) -> list[str]:
        if self.recorded is None:
            return [f"{self.published} rows are public that the journal does not know"]
        found = []
        if self.recorded != (self.published, self.quarantined):
            found.append(f"the journal says {self.recorded}, the tables {self}")
        if self.read != self.published + self.quarantined + (self.duplicates or 0):
            found.append(f"rows are lost: {self}")
        return found

    def __str__(self) -> str:
        return (
            f"{self.read} read = {self.published} published + {self.quarantined} quarantined "
            f"+ {self.duplicates} duplicates"
        )


@dataclass(frozen=True)
class State:
    """What must not change by itself: the champion, and the rows of each day."""

    champion: str
    days: dict[date, Counted] | None
    """None where the lake is too damaged to be counted."""
    files: frozenset[tuple[str, int]]
    """The files of interactions and quarantine, with their sizes."""


@dataclass(frozen=True)
class Answer:
    """What the command line did with one bad input."""

    code: int
    out: str
    err: str
    before: State
    after: State

    @property
    def said(self) -> str:
        """The whole message as one line."""
        return " ".join(self.err.split())

    @property
    def first_line(self) -> str:
        """The line that carries the message: the error, or why rows were refused."""
        lines = self.err.splitlines()
        wanted = ("dayspring: ",) if self.code else ("  refused ", "  ingest ")
        found = [line for sign in wanted for line in lines if sign in line]
        return found[0].removeprefix("dayspring: ") if found else ""

    @property
    def accounting(self) -> str:
        if self.after.days is None:
            return f"cannot be counted: damaged; {len(self.before.files)} files kept"
        fresh = [str(day) for key, day in self.after.days.items() if key != COMPLETE]
        return "; ".join(fresh) or "nothing published"


def ask(bad: Bad, prepared: Path, folder: Path) -> Answer:
    """Damage a copy of the prepared folder, and run the command in it."""
    case = copy_case(prepared, folder)
    bad.damage(case)
    before = state(case)
    code, out, err = call(case, bad.command)
    return Answer(code, out, err, before, state(case))


def call(case: Case, arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run `dayspring` in this process, started in the case's folder; exit code, stdout, stderr."""
    from flows.cli import main

    with _standing_in(case.folder), _captured() as (out, err):
        sys.argv = ["dayspring", *arguments]
        try:
            main()
        except SystemExit as left:
            code = left.code
    return int(code or 0), _text(out), _text(err)


@contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _captured() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    kept = sys.argv, sys.stdout, sys.stderr
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        sys.argv, sys.stdout, sys.stderr = kept


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def state(case: Case) -> State:
    """The champion by MLflow's own table, and the rows by the lake's."""
    tables = [
        path for name in ("interactions", "quarantine") for path in (case.lake / name).rglob("*")
    ]
    sizes = {(str(p), p.stat().st_size) for p in tables if p.is_file()}
    return State(_champion(case), _count(case), frozenset(sizes))


def _champion(case: Case) -> str:
    query = "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
    if not case.database.exists():
        return "no registry"
    try:
        with closing(sqlite3.connect(f"{case.database.as_uri()}?mode=ro", uri=True)) as database:
            return str(database.execute(query).fetchall())
    except sqlite3.Error as error:
        return f"unreadable: {error}"


def _count(case: Case) -> dict[date, Counted] | None:
    import pyarrow.compute as pc

    from tasks.errors import PipelineError
    from tasks.interactions.lake import ITEMS_RUN, Lake
    from tasks.registry.journal import Journal

    lake = Lake(str(case.lake))
    try:
        published = lake.read("interactions", columns=["source_day"])["source_day"].to_pylist()
        refused = lake.read("quarantine", columns=["day", "run"])
        of_logs = pc.invert(pc.starts_with(refused["run"], ITEMS_RUN))
        quarantined = refused.filter(of_logs)["day"].to_pylist()
        entries = Journal(str(case.lake), "portal").entries(event="published")
    except PipelineError:
        return None
    recorded = {entry.day: entry.evidence for entry in entries}
    days = sorted({*published, *quarantined, *recorded})
    return {
        day: Counted(
            read=recorded[day]["rows_read"] if day in recorded else None,
            published=published.count(day),
            quarantined=quarantined.count(day),
            duplicates=recorded[day]["duplicates"] if day in recorded else None,
            recorded=(recorded[day]["published"], recorded[day]["quarantined"])
            if day in recorded
            else None,
        )
        for day in days
    }


def faults(bad: Bad, answer: Answer) -> list[str]:
    """All that is wrong with the answer; empty for a good one."""
    found = [f"exit code {answer.code}, not {bad.code}"] if answer.code != bad.code else []
    found += [f"says {ours!r}" for ours in OURS if ours in answer.err + answer.out]
    found += [f"does not say {part!r}" for part in bad.says if part not in answer.said]
    found += _output_faults(bad, answer)
    if answer.after.champion != answer.before.champion:
        found.append(f"champion {answer.before.champion} became {answer.after.champion}")
    return found + _row_faults(bad, answer)


def _output_faults(bad: Bad, answer: Answer) -> list[str]:
    if answer.code and answer.out and bad.command:  # no command at all is answered by the help
        return [f"an error with {answer.out[:80]!r} on stdout"]
    if not answer.code and "--json" in bad.command:
        record = json.loads(answer.out)
        whole = record["published"] + record["quarantined"] + record["duplicates"]
        if record["rows_read"] != whole:
            return [f"the record reads {record['rows_read']} rows and accounts for {whole}"]
    return []


def _row_faults(bad: Bad, answer: Answer) -> list[str]:
    before, after = answer.before.days, answer.after.days
    if before is None or after is None:
        kept = before is after and answer.before.files <= answer.after.files
        return [] if kept else ["the damaged lake was changed"]
    known = {fault for day in before.values() for fault in day.faults}
    found = [f for day in after.values() for f in day.faults if f not in known]
    found += [f"{day} was {rows}" for day, rows in before.items() if after.get(day) != rows]
    fresh = {day: rows.published for day, rows in after.items() if day not in before}
    if bad.published is not None and list(fresh.values()) != [bad.published]:
        found.append(f"published {fresh}, not {bad.published}")
    if bad.published is None and fresh and bad.kind in ("file", "row", "catalogue", "command"):
        found.append(f"published {fresh}, and should have stopped")
    return found


def row_faults(answer: Answer, case: Case, rows: list[Placed], items: list[Placed]) -> Faults:
    """What is wrong with the answer to each bad row and item of the day, by name."""
    from tasks.interactions.lake import ITEMS_RUN, Lake

    lake = Lake(str(case.lake))
    refused = lake.read("quarantine", days=(DAY, DAY)).to_pylist()
    found: Faults = {}
    for placed, table, key, of_items in (
        (rows, "interactions", "event_id", False),
        (items, "items", "item_id", True),
    ):
        lines = {r["line"]: r for r in refused if r["run"].startswith(ITEMS_RUN) == of_items}
        public = {row[key]: row for row in lake.read(table).to_pylist()}
        for each in placed:
            found[each.row.name] = (
                _accepted_faults(each, public, key)
                if each.row.reason is None
                else _dropped_faults(each, public, lines)
                if each.row.reason == DUPLICATE
                else _refused_faults(each, lines.get(each.line), answer)
            )
    return found


def _refused_faults(placed: Placed, found: dict[str, Any] | None, answer: Answer) -> list[str]:
    if found is None:
        return [f"line {placed.line} is not in the quarantine"]
    raw, reason = placed.raw.decode("utf-8", "backslashreplace"), placed.row.reason
    return [
        *([] if found["raw"] == raw else [f"is kept as {found['raw'][:80]!r}"]),
        *([] if found["reason"] == reason else [f"was refused as {found['reason']!r}"]),
        *([] if f"× {reason}" in answer.said else ["its reason is not told"]),
        *([] if "Repair the source, deliver the files again" in answer.said else ["no next step"]),
    ]


def _dropped_faults(placed: Placed, public: Public, refused: Public) -> list[str]:
    first = public[AGAIN]
    return [
        *(["is in the quarantine too"] if placed.line in refused else []),
        *([] if first["label"] == GOOD_ROW["label"] else [f"changed the label: {first}"]),
    ]


def _accepted_faults(placed: Placed, public: Public, key: str) -> list[str]:
    delivered = json.loads(placed.raw)
    row = public.get(str(delivered[key]))
    if row is None:
        return ["is not public"]
    return [
        f"{column} became {row[column]!r}"
        for column in ("user_id", "item_id", "title")
        if column in row and row[column] != str(delivered[column]).strip()
    ]


REFUSED = sum(row.reason not in (None, DUPLICATE) for row in ROWS)
DROPPED = sum(row.reason == DUPLICATE for row in ROWS)

ODD_DAY = Bad(
    *("row", f"{len(ROWS)} bad rows and {len(ITEMS)} bad items among good ones"),
    (
        f"{REFUSED} quarantined + {DROPPED} duplicates",
        f"{sum(item.reason is not None for item in ITEMS)} quarantined",
        "Repair the source, deliver the files again",
    ),
    code=0,
    published=GOOD_ROWS + 1 + len(ROWS) - REFUSED - DROPPED,
)
"""The day that all of `ROWS` and `ITEMS` lie in."""


def ask_rows(prepared: Path, folder: Path) -> tuple[Answer, Faults]:
    """Run the day with all the bad rows and items in it; its answer, and the faults one by one."""
    case = copy_case(prepared, folder)
    rows, items = spread(case)
    before = state(case)
    answer = Answer(*call(case, RUN), before, state(case))
    return answer, row_faults(answer, case, rows, items)


def prepare(folder: Path) -> Path:
    """Lay the folder out and run its first day, which brings a champion."""
    case = lay_out(folder)
    code, _, err = call(case, ["run", "portal", "--day", str(COMPLETE), "--json"])
    assert code == 0, err
    assert _champion(case) == "[(1,)]", err
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kind", nargs="+", help="only bad inputs of these kinds")
    options = parser.parse_args()
    from prefect.testing.utilities import prefect_test_harness

    wrong = told = 0
    with tempfile.TemporaryDirectory() as root, prefect_test_harness(server_startup_timeout=120):
        prepared = prepare(Path(root) / "prepared")
        print(
            _line("kind", "what is wrong", "exit", "first line of the message", "rows of the day")
        )
        for number, bad in enumerate([ODD_DAY, *CORPUS]):
            if options.kind and bad.kind not in options.kind:
                continue
            # Never the same folder again: MLflow keeps a database open as long as its process lives.
            folder = Path(root) / f"{number:03}"
            if bad is ODD_DAY:
                answer, by_row = ask_rows(prepared, folder)
                found = faults(bad, answer) + [f"{k}: {v}" for k, v in by_row.items() if v]
                told += len(by_row)
            else:
                answer = ask(bad, prepared, folder)
                found = faults(bad, answer)
                told += 1
            shutil.rmtree(folder)
            message = answer.first_line.replace(f"{folder}/", "")
            print(_line(bad.kind, bad.name, str(answer.code), message, answer.accounting))
            for fault in found:
                print(f"    WRONG: {fault}")
            wrong += bool(found)
    print(f"{told} bad inputs, {wrong} wrong answers")
    raise SystemExit(1 if wrong else 0)


def _line(kind: str, name: str, code: str, message: str, rows: str) -> str:
    return f"{kind:<9}  {name:<48.48}  {code:>4}  {message:<110.110}  {rows}"


if __name__ == "__main__":
    main()
