"""The day's HTML page and the list of days: one file each, nothing loaded from elsewhere.

No scripts at all, one style sheet that the page's content security policy names by its hash, and
pictures as inline SVG. Every part of a record is optional: what a day lacks, its page leaves out.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup

from tasks.report import words
from tasks.report.charts import (
    Line,
    bar,
    calibration_chart,
    interval_chart,
    lines_chart,
    roc_chart,
)
from tasks.report.words import Record, as_number

FOLDER = Path(__file__).parent
MAX_DAYS = 60
"""Days in the chart of AUC, and in the list of the latest: more would be a smear at this width."""


def render_day(record: Record, history: Sequence[Record]) -> str:
    """The page of one day: verdict first, then the evidence.

    Args:
        record: the day's JSON document.
        history: the records of earlier days, in any order, for the chart of AUC.
    """
    days = by_day([*history, record])
    contest = record.get("contest") or {}
    curves = contest.get("curves") or {}
    columns = sorted(
        (record.get("drift") or {}).get("columns") or [],
        key=lambda column: (bool(column.get("drifted")), words.excess(column)),
        reverse=True,
    )
    return render(
        "page_day.html.j2",
        record=record,
        days=days,
        verdict=words.verdict_words(record),
        champion=words.champion_words(record),
        drifted=words.drifted_columns(record),
        total_seconds=words.total_seconds(record),
        auc_chart=_auc_chart(days),
        interval_chart=interval_chart(contest) if contest else "",
        epochs_chart=_epochs_chart(record.get("finetune") or {}),
        roc_chart=roc_chart(_points(curves, "roc")) if curves else "",
        calibration_chart=calibration_chart(_points(curves, "calibration")) if curves else "",
        whole_day=_whole_day(record.get("metrics") or {}),
        drift_bars=[(column, _drift_bar(column)) for column in columns],
        quarantine_bars=_bars(
            record.get("quarantine_reasons") or {}, words.count, largest_first=True
        ),
        seconds_bars=_bars(record.get("seconds") or {}, words.seconds),
        **_validation(record.get("validation") or {}),
    )


def render_index(records: Sequence[Record], months: Sequence[str] = ()) -> str:
    """A list of a pipeline's days, newest first, each linking to `<day>.html` beside it.

    Args:
        records: the days to list: the latest ones, or those of a month.
        months: such as 2026-03, oldest first: each has a list of its own, `<month>.html`.
    """
    days = by_day(records)
    return render(
        "page_index.html.j2",
        pipeline=days[-1].get("pipeline") if days else "Dayspring",
        days=days,
        months=months,
        auc_chart=_auc_chart(days),
        these_days=_these_days(days),
    )


def _these_days(days: Sequence[Record]) -> list[tuple[str, str]]:
    """Figures over the days listed, each with its name."""
    both = [
        (champion, zero_shot)
        for champion, zero_shot in (
            (as_number(day.get("champion_auc")), as_number(day.get("zero_shot_auc")))
            for day in days
        )
        if champion is not None and zero_shot is not None
    ]
    champion, zero_shot = (
        [sum(column) / len(both) for column in zip(*both, strict=True)] if both else (None, None)
    )
    verdicts = Counter(words.verdict_words(day).outcome for day in days)
    return [
        ("mean AUC, champion", words.decimal(champion)),
        ("mean AUC, zero-shot", words.decimal(zero_shot)),
        ("rows published", words.count(_sum(days, "published"))),
        ("rows quarantined", words.count(_sum(days, "quarantined"))),
        *((f"days: {outcome}", words.count(number)) for outcome, number in verdicts.most_common()),
    ]


def _sum(days: Sequence[Record], key: str) -> float:
    return sum(as_number(day.get(key)) or 0 for day in days)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=ChainableUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=words.count,
        decimal=words.decimal,
        signed=words.signed,
        percent=words.percent,
        percent_whole=words.percent_whole,
        seconds=words.seconds,
        clip=words.clip,
        expectation_words=words.expectation_words,
    )
    environment.globals.update(
        metric_names=words.METRIC_NAMES,
        difference=_difference,
        verdict_words=words.verdict_words,
        gain_words=words.gain_words,
        drift_words=words.drift_words,
        against_words=words.against_words,
        usual_words=words.usual_words,
        total=words.total_seconds,
        **_style(),
    )
    return environment


def _finalize(value: Any) -> Any:
    """What a template prints: None as a dash, and no text that turns its neighbours around."""
    if value is None:
        return words.MISSING
    return words.visible(value) if type(value) is str else value


def render(template: str, **values: Any) -> str:
    """A page from a template beside this file."""
    return _environment().get_template(template).render(**values).lstrip()


def _style() -> dict[str, Any]:
    """The style sheet and the policy that allows it and nothing else."""
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return {"style": Markup(style), "policy": Markup(policy)}  # noqa: S704 - our own file


def by_day(records: Sequence[Record]) -> list[Record]:
    """The last record of each day, oldest day first."""
    newest = {str(record.get("day")): record for record in records}
    return [newest[day] for day in sorted(newest)]


def _auc_chart(days: Sequence[Record]) -> Markup:
    shown = days[-MAX_DAYS:]
    promoted = {
        index: f"v{version}" for index, day in enumerate(shown) if (version := words.went_live(day))
    }
    return lines_chart(
        "Champion's and zero-shot model's AUC by day",
        [
            Line("champion", [as_number(day.get("champion_auc")) for day in shown], "champion"),
            Line("zero-shot", [as_number(day.get("zero_shot_auc")) for day in shown], "zero-shot"),
        ],
        [words.clip(day.get("day"))[5:10] for day in shown],
        promoted,
    )


def _epochs_chart(finetune: Record) -> Markup:
    epochs = finetune.get("epochs") or []
    if len(epochs) < 2:
        return Markup("")
    values = [as_number(epoch.get("validation_auc")) for epoch in epochs]
    phases = [words.clip(epoch.get("phase"), 12) for epoch in epochs]
    starts = [i for i, phase in enumerate(phases) if i == 0 or phase != phases[i - 1]]
    return lines_chart(
        "Validation AUC by epoch",
        [Line("validation", values, "challenger")],
        [words.clip(epoch.get("epoch"), 5) for epoch in epochs],
        {i: phases[i] for i in starts} if len(starts) > 1 else None,
        height=210,
    )


def _points(curves: Record, name: str) -> dict[str, list[list[float]]]:
    """One curve of each model, without points that are no numbers."""
    return {
        model: [
            [float(value) for value in point]
            for point in (curves.get(model) or {}).get(name) or []
            if all(as_number(value) is not None for value in point)
        ]
        for model in ("champion", "challenger")
        if curves.get(model)
    }


def _whole_day(metrics: Record) -> list[tuple[str, Record]]:
    """Columns of the whole day's metrics; one where the zero-shot model was itself the champion."""
    columns = [("zero-shot", metrics.get("zero_shot")), ("champion", metrics.get("champion"))]
    known = [(name, values) for name, values in columns if values]
    if len(known) == 2 and known[0][1] == known[1][1]:
        return known[:1]
    return known


def _drift_bar(column: Record) -> Markup:
    """The column's effect size on a scale of twice its threshold."""
    return bar(
        words.excess(column), 2.0, mark=1.0, tone="warn" if column.get("drifted") else "calm"
    )


def _bars(
    values: Record, say: Any, *, largest_first: bool = False
) -> list[tuple[str, str, Markup]]:
    """(name, value in words, bar) of each value; the longest bar is the largest value."""
    full = max((as_number(value) or 0 for value in values.values()), default=0)
    pairs = list(values.items())
    if largest_first:
        pairs.sort(key=lambda pair: -(as_number(pair[1]) or 0))
    return [(words.clip(name, 200), say(value), bar(value, full)) for name, value in pairs]


def _validation(validation: Record) -> Mapping[str, Any]:
    """Results with those not met first, critical before warning."""
    results = sorted(
        validation.get("results") or [],
        key=lambda result: (bool(result.get("success")), result.get("severity") != "critical"),
    )
    return {
        "validation": results,
        "not_met": sum(not result.get("success") for result in results),
    }


def _difference(value: Any, other: Any) -> float | None:
    left, right = as_number(value), as_number(other)
    return None if left is None or right is None else left - right
