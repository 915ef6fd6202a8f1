"""The tasks of `few_shot.py`, read from the files that their authors publish."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.interactions.schema import HISTORY, ITEM_HOURS, UTC_TIME
from tasks.recommender.context import Context
from tasks.recommender.statistics import count_item_hours

QUOTED = re.compile(r'"(.*?)"(?:, |\?|$)')
JUDGED_DAYS = 3


@dataclass(frozen=True)
class Judged:
    """Rows that AUC is measured on."""

    name: str
    rows: pa.Table


@dataclass(frozen=True)
class Task:
    """What may be learned from, and what judges."""

    name: str
    train: pa.Table
    judged: list[Judged]
    context: Context
    within: bool
    """Whether AUC is the mean within impressions; else it is pooled."""
    few: bool
    whole: bool


def load_task(name: str, data: Path, files: dict[str, Path | None]) -> Iterator[Task]:
    """The parts of a task, each with its own table rows."""
    if name == "tallrec":
        yield _tallrec(files)
    elif name == "collm":
        yield from _collm(files)
    else:
        yield from _mind(data, files)


# TALLRec --------------------------------------------------------------------------------------


def _tallrec(files: dict[str, Path | None]) -> Task:
    parts, titles = {}, {}
    for name, file in files.items():
        if file is not None:
            frame = _tallrec_rows(file, name)
            titles.update(frame.attrs["titles"])
            parts[name] = _table(frame)
    context = Context(_catalogue(titles), ITEM_HOURS.empty_table(), None, Path())
    judged = [Judged(name, parts[name]) for name in ("valid", "test") if name in parts]
    return Task("tallrec", parts["train"], judged, context, within=False, few=True, whole=False)


def _tallrec_rows(file: Path, part: str) -> pd.DataFrame:
    """One row a prompt. The ids of a `.csv` beside it put likes and dislikes back in their order."""
    prompts = json.loads(file.read_text())
    beside = file.with_suffix(".csv")
    logged = (
        pd.read_csv(beside, dtype={"user_id": str, "movie_id": str}) if beside.is_file() else None
    )
    rows, titles = [], {}
    for place, prompt in enumerate(prompts):
        liked, disliked, target = _titles_of(prompt["input"])
        if logged is None:
            entries = [*((title, title, 1) for title in liked), *((t, t, 0) for t in disliked)]
            user, item, time = f"{part}-{place}", target, 0
        else:
            log = logged.iloc[place]
            user, item, time = log["user_id"], log["movie_id"], int(log["timestamp"])
            entries = _in_order(log, iter(liked), iter(disliked))
        titles.update({item: target, **{entry: title for entry, title, _ in entries}})
        rows.append(
            {
                "impression_id": f"{part}-{place}",
                "user_id": user,
                "item_id": item,
                "event_time": time,
                "label": int(prompt["output"].strip().startswith("Yes")),
                "history": [{"item_id": entry, "label": label} for entry, _, label in entries],
            }
        )
    frame = pd.DataFrame(rows)
    frame.attrs["titles"] = titles
    return frame


def _titles_of(text: str) -> tuple[list[str], list[str], str]:
    """Liked titles, disliked titles and the target of a TALLRec prompt."""
    liked, disliked, asked = text.split("\n")
    found = [QUOTED.findall(line.partition(":")[2]) for line in (liked, disliked)]
    target = asked[asked.index('"') + 1 : asked.rindex('"')]
    return found[0], found[1], target


def _in_order(
    log: Any, liked: Iterator[str], disliked: Iterator[str]
) -> list[tuple[str, str, int]]:
    ids = ast.literal_eval(log["history_movie_id"])
    ratings = ast.literal_eval(log["history_rating"])
    return [
        (str(item), next(liked if rating else disliked), int(rating))
        for item, rating in zip(ids, ratings, strict=True)
    ]


# CoLLM ----------------------------------------------------------------------------------------


def _collm(files: dict[str, Path | None]) -> Iterator[Task]:
    frames = {name: pd.read_parquet(file) for name, file in files.items() if file is not None}
    titles: dict[str, str] = {}
    for frame in frames.values():
        titles.update(zip(frame["iid"].astype(str), frame["title"], strict=True))
        for ids, names in zip(frame["his"], frame["his_title"], strict=True):
            titles.update(zip(map(str, ids), names, strict=True))
    titles.pop("0", None)  # the padding that begins each history
    parts = {name: _collm_rows(frame, name) for name, frame in frames.items()}
    as_filed = {name: _table(frame) for name, frame in parts.items()}
    everything = pd.concat(parts.values(), ignore_index=True)
    answered = _with_answers(everything)
    served = {name: _table(answered[answered["part"] == name]) for name in parts}
    catalogue = _catalogue(titles)
    known = {"frozen": as_filed["train"], "served": pa.concat_tables(list(as_filed.values()))}
    for name, tables in (("frozen", as_filed), ("served", served)):
        context = Context(catalogue, count_item_hours(known[name]), None, Path())
        judged = [Judged(part, tables[part]) for part in ("valid", "test") if part in tables]
        yield Task(
            f"collm, {name}", tables["train"], judged, context, within=False, few=False, whole=True
        )


def _collm_rows(frame: pd.DataFrame, part: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "impression_id": [f"{part}-{place}" for place in range(len(frame))],
            "user_id": frame["uid"].astype(str),
            "item_id": frame["iid"].astype(str),
            "event_time": frame["timestamp"],
            "label": frame["label"].astype(int),
            "history": [
                [{"item_id": str(item), "label": 1} for item in items if item != 0]
                for items in frame["his"]
            ],
            "part": part,
        }
    )


def _with_answers(rows: pd.DataFrame) -> pd.DataFrame:
    """Each row with the likes and dislikes that its user gave before that second, oldest first.

    Likes of before the log begins stand first, as the file has them.
    """
    rows = rows.sort_values(["event_time", "impression_id"], kind="stable")
    histories: dict[int, list[dict[str, Any]]] = {}
    for _, mine in rows.groupby("user_id", sort=False):
        items, labels, times = (mine[c].to_numpy() for c in ("item_id", "label", "event_time"))
        logged = set(items)
        older = [entry for entry in mine["history"].iloc[0] if entry["item_id"] not in logged]
        answers = [{"item_id": i, "label": int(y)} for i, y in zip(items, labels, strict=True)]
        before = np.searchsorted(times, times, side="left")
        for index, number in zip(mine.index, before, strict=True):
            histories[index] = [*older, *answers[:number]]
    return rows.assign(history=pd.Series(histories))


# MIND -----------------------------------------------------------------------------------------


def _mind(data: Path, files: dict[str, Path | None]) -> Iterator[Task]:
    """Each judged day from the days before; or `valid` and `test` from `train`, where they are named."""
    items = mind_items(data / "news.tsv")
    parts = {name: mind_rows(file, name) for name, file in files.items() if file is not None}
    everything = pa.concat_tables(list(parts.values()))
    context = Context(items, count_item_hours(everything), None, Path())
    if len(parts) > 1:
        judged = [Judged(name, rows) for name, rows in parts.items() if name != "train"]
        yield Task("mind", parts["train"], judged, context, within=True, few=True, whole=True)
        return
    last: date = pc.max(everything["event_date"]).as_py()
    for day in (last - timedelta(days=ago) for ago in reversed(range(JUDGED_DAYS))):
        before = everything.filter(pc.less(everything["event_date"], day))
        rows = everything.filter(pc.equal(everything["event_date"], day))
        yield Task(
            "mind", before, [Judged(f"{day}", rows)], context, within=True, few=True, whole=True
        )


def mind_rows(file: Path, part: str) -> pa.Table:
    """The rows of a `behaviors.tsv` in time order; `part` makes its ids differ from another file's."""
    query = """
        with slates as (
            select ? || '-' || column0 as impression_id, column1 as user_id, column4 as shown,
                   strptime(column2, '%m/%d/%Y %I:%M:%S %p') as event_time,
                   list_transform(
                       list_filter(string_split(coalesce(column3, ''), ' '), lambda x: x <> ''),
                       lambda x: {'item_id': x, 'label': 1::tinyint}) as history
            from read_csv(?, delim='\t', header=false, all_varchar=true, quote='', columns={
                'column0': 'varchar', 'column1': 'varchar', 'column2': 'varchar',
                'column3': 'varchar', 'column4': 'varchar'})
        ),
        rows as (select *, unnest(string_split(shown, ' ')) as candidate from slates)
        select event_time, event_time::date as event_date, impression_id, user_id,
               candidate[:-3] as item_id, candidate[-1:]::tinyint as label, history
        from rows order by event_time, impression_id, item_id
    """
    with duckdb.connect() as connection:
        rows = connection.execute(query, [part, str(file)]).to_arrow_table()
    for name, kind in (("event_time", UTC_TIME), ("history", HISTORY)):
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(kind))
    return rows


def mind_items(file: Path) -> pa.Table:
    """The catalogue of a `news.tsv`."""
    query = """
        select column0 as item_id, column1 as category, column3 as title
        from read_csv(?, delim='\t', header=false, all_varchar=true, quote='', columns={
            'column0': 'varchar', 'column1': 'varchar', 'column2': 'varchar', 'column3': 'varchar',
            'column4': 'varchar', 'column5': 'varchar', 'column6': 'varchar', 'column7': 'varchar'})
    """
    with duckdb.connect() as connection:
        return connection.execute(query, [str(file)]).to_arrow_table()


# Tables ---------------------------------------------------------------------------------------


def _table(rows: pd.DataFrame) -> pa.Table:
    times = pa.array(rows["event_time"].to_numpy() * 1_000_000, pa.int64()).cast(UTC_TIME)
    return pa.table(
        {
            "event_time": times,
            "event_date": times.cast(pa.date32()),
            "impression_id": pa.array(rows["impression_id"], pa.string()),
            "user_id": pa.array(rows["user_id"], pa.string()),
            "item_id": pa.array(rows["item_id"], pa.string()),
            "label": pa.array(rows["label"], pa.int8()),
            "history": pa.array(rows["history"], HISTORY),
        }
    )


def _catalogue(titles: dict[str, str]) -> pa.Table:
    return pa.table(
        {"item_id": pa.array(list(titles), pa.string()), "title": list(titles.values())}
    )
