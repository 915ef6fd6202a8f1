"""The page of drift over the days: sudden and gradual, each column beside what is usual for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.report import words
from tasks.report.drift_chart import EffectSeries, effect_chart
from tasks.report.page import MAX_DAYS, by_day, render
from tasks.report.words import Record, as_number

Key = tuple[str, str]


def render_drift(records: Sequence[Record]) -> str:
    """The page: a chart of every column over the latest days, then the drifted days in words.

    Args:
        records: the days' documents, in any order; the latest MAX_DAYS are shown.
    """
    days = by_day(records)[-MAX_DAYS:]
    labels = [words.clip(day.get("day"))[5:10] for day in days]
    columns = [_columns(day) for day in days]
    charts = [
        {
            "column": key[0],
            "measure": key[1],
            "picture": effect_chart(" ".join(key), _series(columns, key), labels),
            "days": sum(bool(day.get(key, {}).get("drifted")) for day in columns),
        }
        for key in dict.fromkeys(key for day in columns for key in day)
    ]
    return render(
        "page_drift.html.j2",
        pipeline=days[-1].get("pipeline") if days else "Dayspring",
        charts=sorted(charts, key=lambda chart: -chart["days"]),
        drifted=[
            (day, words.drifted_columns(day))
            for day in reversed(days)
            if words.drifted_columns(day)
        ],
        days=days,
        learning=((days[-1].get("drift") or {}).get("learning") or "") if days else "",
    )


def _columns(day: Record) -> dict[Key, Record]:
    columns = (day.get("drift") or {}).get("columns") or []
    return {
        (words.clip(each.get("column")), words.clip(each.get("measure"))): each for each in columns
    }


def _series(days: Sequence[Mapping[Key, Record]], key: Key) -> EffectSeries:
    columns = [day.get(key) for day in days]
    return EffectSeries(
        rolling=[_effect(each, "rolling", "value") for each in columns],
        champion=[_effect(each, "champion", "value") for each in columns],
        high=[_effect(each, "rolling", "high") for each in columns],
        flagged=[
            str(each.get("reference") or "rolling") if each and each.get("drifted") else None
            for each in columns
        ],
        matters=max(
            (as_number(each.get("threshold")) or 0.0 for each in columns[-1:] if each), default=0.0
        ),
    )


def _effect(column: Record | None, reference: str, figure: str) -> float | None:
    against: Any = ((column or {}).get("against") or {}).get(reference) or {}
    return as_number(against.get(figure))
