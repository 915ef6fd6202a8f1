"""The day as Markdown and as a table, for Prefect's artifacts and for the terminal."""

import re
from collections.abc import Sequence
from typing import Any

from tasks.report import words
from tasks.report.words import Record

Row = Sequence[str]


def render_markdown(record: Record) -> str:
    """The day in words and small tables: verdict, contest, rows, drift, validation, seconds."""
    parts = [
        f"# {_plain(record.get('pipeline'))} · {_plain(record.get('day'))}",
        f"**{_plain(words.verdict_words(record).headline)}**",
        _plain(record.get("reason"), 600),
        table(("", ""), [(row["figure"], row["value"]) for row in table_rows(record)]),
        _contest(record.get("contest")),
        _shadows(record.get("shadows")),
        _rules(record.get("contest")),
        _drift(record.get("drift")),
        _not_met(record.get("validation")),
        _counts("Quarantined because", record.get("quarantine_reasons"), words.count),
        _counts("Stage", record.get("seconds"), words.seconds),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_rows(record: Record) -> list[dict[str, str]]:
    """The day's figures as rows of {"figure", "value"}; a missing one is a dash."""
    figures = {
        "verdict": words.verdict_words(record).short,
        "challenger's gain": words.gain_words(record.get("contest")),
        "champion's AUC": f"{words.decimal(record.get('champion_auc'), 4)} "
        f"({words.champion_words(record)})",
        "zero-shot AUC": words.decimal(record.get("zero_shot_auc"), 4),
        "rows": f"{words.count(record.get('rows_read'))} read = "
        f"{words.count(record.get('published'))} published + "
        f"{words.count(record.get('quarantined'))} quarantined + "
        f"{words.count(record.get('duplicates'))} duplicates",
        "drift": words.drift_words(record),
        "trigger": words.trigger_words(record),
        "model version": words.clip(words.went_live(record) or record.get("model_version")),
        "time": words.seconds(words.total_seconds(record)),
    }
    return [{"figure": figure, "value": value} for figure, value in figures.items()]


def _contest(contest: Record | None) -> str:
    if not contest:
        return ""
    old, new = contest.get("champion") or {}, contest.get("challenger") or {}
    rows = [
        (name, words.decimal(old.get(key), 4), words.decimal(new.get(key), 4))
        for key, name in words.METRIC_NAMES.items()
    ]
    judged = (
        f"{words.count(contest.get('impressions'))} held-out impressions of "
        f"{words.count(contest.get('users'))} users"
    )
    return f"{judged}\n\n" + table(("metric", "champion", "challenger"), rows)


def _shadows(shadows: Sequence[Record] | None) -> str:
    rows = [
        (
            f"v{words.clip(each.get('version'))}",
            words.gain_words(each),
            words.clip(each.get("decision")),
            words.clip(each.get("reason"), 600),
        )
        for each in shadows or []
    ]
    return table(("in shadow", "gain", "verdict", "why"), rows)


def _rules(contest: Record | None) -> str:
    rows = [
        (
            words.clip(rule.get("rule")),
            words.clip(rule.get("decision") if rule.get("decides") else "shown only"),
            words.clip(rule.get("reason"), 400),
        )
        for rule in (contest or {}).get("rules") or []
    ]
    return table(("guardrail", "verdict", "why"), rows)


def _drift(drift: Record | None) -> str:
    if not drift:
        return ""
    columns = sorted(drift.get("columns") or [], key=words.excess, reverse=True)
    rows = [
        (
            f"{'! ' if column.get('drifted') else ''}{words.clip(column.get('column'))}",
            words.clip(column.get("measure")),
            words.decimal(column.get("value")),
            words.decimal(column.get("threshold")),
            words.clip(column.get("words"), 300),
        )
        for column in columns
    ]
    return table(("drift", "measure", "value", "threshold", "in words"), rows)


def _not_met(validation: Record | None) -> str:
    results = [r for r in (validation or {}).get("results") or [] if not r.get("success")]
    rows = [
        (
            words.expectation_words(result.get("expectation")),
            words.clip(result.get("column")),
            words.clip(result.get("severity")),
            words.clip(result.get("observed")),
        )
        for result in results
    ]
    return table(("expectation not met", "column", "severity", "observed"), rows)


def _counts(heading: str, values: Record | None, say: Any) -> str:
    return table((heading, ""), [(str(k), say(v)) for k, v in (values or {}).items()])


def table(heading: Row, rows: Sequence[Row]) -> str:
    """A Markdown table; nothing where there are no rows."""
    if not rows:
        return ""
    lines = [heading, ["---"] * len(heading), *([_plain(cell, 600) for cell in r] for r in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(value: Any, most: int = 160) -> str:
    """`value` on one line, with nothing in it that Markdown or HTML would act upon."""
    text = re.sub(r"\s+", " ", words.clip(value, most))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~]|_(?!\w)|(?<!\w)_|^[#+-](?= ))", r"\\\1", text)
