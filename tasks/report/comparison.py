"""The page of a replay: both histories' AUC by day, and which one ranked better."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.report import words
from tasks.report.charts import Line, lines_chart
from tasks.report.page import render
from tasks.report.words import as_number

COST_NAMES = {
    "mean_auc": "mean AUC",
    "retrainings": "retrainings",
    "promotions": "promotions",
    "train_seconds": "training time",
}


def render_comparison(document: Mapping[str, Any]) -> str:
    """One self-contained page of the document that `--json` prints."""
    days = document["days"]
    return render(
        "page_comparison.html.j2",
        comparison=document,
        days=days,
        tone=_tone(document["difference"]),
        chart=_chart(days),
        costs=[
            (title, _say(name, document["real"]), _say(name, document["replayed"]))
            for name, title in COST_NAMES.items()
        ],
    )


def comparison_lines(document: Mapping[str, Any]) -> list[str]:
    """The comparison for a terminal or a pipe: a line a day, the costs, the verdict."""
    heading = f"{'day':<10}  {'real':<10} {'AUC':>7}  {'replay':<10} {'AUC':>7}  {'difference':>10}"
    lines = [heading]
    for day in document["days"]:
        real, replayed = as_number(day["real_auc"]), as_number(day["replay_auc"])
        gap = None if real is None or replayed is None else replayed - real
        lines.append(
            f"{day['day']:<10}  {words.clip(day['real_champion'] or words.MISSING, 10):<10} "
            f"{words.decimal(real):>7}  {words.clip(day['replay_champion'], 10):<10} "
            f"{words.decimal(replayed):>7}  {words.signed(gap):>10}"
        )
    lines += [
        f"{title}: {_say(name, document['real'])}, replay {_say(name, document['replayed'])}"
        for name, title in COST_NAMES.items()
    ]
    return [*lines, f"{document['verdict']} (paired by day, Student's t)"]


def _say(name: str, cost: Mapping[str, Any]) -> str:
    value = cost[name]
    if name == "mean_auc":
        return words.decimal(value)
    return words.seconds(value) if name == "train_seconds" else words.count(value)


def _tone(difference: Mapping[str, Any]) -> str:
    low, high = as_number(difference["low"]), as_number(difference["high"])
    if low is not None and low > 0:
        return "good"
    return "bad" if high is not None and high < 0 else "calm"


def _chart(days: Sequence[Mapping[str, Any]]) -> Any:
    went_live = {i: "live" for i, day in enumerate(days) if day.get("replay_promoted")}
    return lines_chart(
        "Champion's AUC by day in the replay and in the real history",
        [
            Line("replay", [as_number(day["replay_auc"]) for day in days], "challenger"),
            Line("real", [as_number(day["real_auc"]) for day in days], "champion"),
            Line("zero-shot", [as_number(day["zero_shot_auc"]) for day in days], "zero-shot"),
        ],
        [words.clip(day["day"])[5:10] for day in days],
        went_live,
    )
