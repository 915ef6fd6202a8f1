"""A pipeline's status in one screen of 80 columns."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from textwrap import wrap
from typing import Any

from tasks.report import words
from tasks.report.terminal import NARROW_WIDTH, narrow_lines
from tasks.report.words import Record

BARS = "▁▂▃▄▅▆▇█"
LABEL_WIDTH = 12
WHY_LINES = 4


def overview_lines(status: Record, now: datetime) -> list[str]:
    """What `dayspring status` prints of one pipeline: who is live, how it fares, what is next."""
    told = [_last_day(status), *_missing(status), *_champion(status, now), *_auc(status)]
    told += [*_why(status), *_shadows(status)]
    told += [*_reviews(status), *_superseded(status), *_next_run(status, now)]
    lines = [str(status["pipeline"])]
    lines += [words.clip(f"  {label:<{LABEL_WIDTH}}{said}", NARROW_WIDTH) for label, said in told]
    if status["triggers"]:
        lines += ["", *_triggers(status["triggers"])]
    if status["days"]:
        lines += ["", *narrow_lines(status["days"])]
    return lines


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """A bar for each value, between `low` and `high`."""
    if high <= low:
        return BARS[len(BARS) // 2] * len(values)
    steps = [round((value - low) / (high - low) * (len(BARS) - 1)) for value in values]
    return "".join(BARS[max(0, min(step, len(BARS) - 1))] for step in steps)


def ago(span: timedelta) -> str:
    """A span in its largest unit: 3 days, 5 h, 12 min."""
    seconds = max(span.total_seconds(), 0)
    if seconds >= 2 * 86_400:
        return f"{seconds // 86_400:,.0f} days"
    return f"{seconds // 3600:.0f} h" if seconds >= 2 * 3600 else f"{seconds // 60:.0f} min"


def _last_day(status: Record) -> tuple[str, str]:
    if not status["days"]:
        return "last day", f"none yet; start with dayspring run {status['pipeline']}"
    last, today = status["days"][-1], date.fromisoformat(status["today"])
    late = (today - date.fromisoformat(last["day"])).days
    when = "yesterday" if late == 1 else f"{late:,} days ago" if late > 1 else "today"
    outcome = words.verdict_words(last).short
    return "last day", f"{last['day']} ({when}): {outcome}; {status['complete_days']:,} complete"


def _missing(status: Record) -> list[tuple[str, str]]:
    said = []
    for key, label in (("missing_days", "missing"), ("unfinished_days", "unfinished")):
        days = status[key]
        if days:
            more = f" and {len(days) - 3:,} more" if len(days) > 3 else ""
            said.append((label, ", ".join(days[:3]) + more))
    return said


def _champion(status: Record, now: datetime) -> list[tuple[str, str]]:
    version = status["champion"]
    if version is None:
        return [("champion", "zero-shot")]
    said = f"v{version}"
    if status["champion_since"]:
        since = datetime.fromisoformat(status["champion_since"])
        said += f", live for {ago(now - since)} (since {since:%Y-%m-%d %H:%M} UTC)"
    through = status["champion_trained_through"]
    learned = [("learned to", f"{through[:10]} {through[11:16]} UTC")] if through else []
    return [("champion", said), *learned]


def _auc(status: Record) -> list[tuple[str, str]]:
    auc = status["auc"]
    if auc is None:
        return []
    both = [*auc["champion"], *(value for value in auc["zero_shot"] if value is not None)]
    low, high = min(both), max(both)
    bars = sparkline(auc["champion"], low, high)
    return [
        ("AUC", f"{bars} {words.decimal(auc['champion'][-1])}, {_trend(auc)}"),
        ("zero-shot", _zero_shot(auc, low, high)),
    ]


def _trend(auc: Record) -> str:
    if auc["change"] is None:
        return "too few days for a trend"
    span = date.fromisoformat(auc["days"][-1]) - date.fromisoformat(auc["days"][0])
    over = f"over {span.days + 1:,} days"
    if auc["trend"] == "steady":
        return f"steady {over}"
    return f"{auc['trend']} by {abs(auc['change']):.3f} {over}"


def _zero_shot(auc: Record, low: float, high: float) -> str:
    known: list[Any] = [value for value in auc["zero_shot"] if value is not None]
    return f"{sparkline(known, low, high)} {words.decimal(known[-1] if known else None)}"


def _why(status: Record) -> list[tuple[str, str]]:
    """The last day's sentence, whole where its lines are few."""
    if not status["why"]:
        return []
    room = NARROW_WIDTH - LABEL_WIDTH - 2
    lines = wrap(words.visible(status["why"]), room, max_lines=WHY_LINES, placeholder=" …")
    return [(label, line) for label, line in zip(["why"] + [""] * WHY_LINES, lines, strict=False)]


def _shadows(status: Record) -> list[tuple[str, str]]:
    return [
        (
            "in shadow" if place == 0 else "",
            f"v{each['version']} until {each['until']}: gain {words.gain_words(each)}",
        )
        for place, each in enumerate(status["shadows"])
    ]


def _reviews(status: Record) -> list[tuple[str, str]]:
    waiting = status["waiting"]
    if not waiting:
        return []
    return [("waiting", f"{_versions(waiting)}; dayspring review {status['pipeline']}")]


def _superseded(status: Record) -> list[tuple[str, str]]:
    found = status["superseded"]
    if not found:
        return []
    return [("superseded", f"{_versions(found)} learned from a day that was corrected since")]


def _versions(versions: Sequence[str]) -> str:
    more = f" and {len(versions) - 4:,} more" if len(versions) > 4 else ""
    return ", ".join(f"v{version}" for version in versions[-4:]) + more


def _triggers(ledger: Sequence[Record]) -> list[str]:
    """What each trigger brought: trainings, how many were promoted, AUC gained, and the cost."""
    heading = (
        f"{'trigger':<24}{'asked':>6}{'fired':>6}{'promoted':>14}{'AUC gained':>16}{'cost':>9}"
    )
    return [heading, *(words.clip(_account(line), NARROW_WIDTH) for line in ledger)]


def _account(line: Record) -> str:
    name = words.clip(line["trigger"], 23)
    return (
        f"{name:<24}{line['asked']:>6,}{line['fired']:>6,}{_precision(line):>14}"
        f"{_gained(line):>16}{_cost(line['train_seconds'] + line['asking_seconds']):>9}"
    )


def _precision(line: Record) -> str:
    waits = f" +{line['open']:,}?" if line["open"] else ""
    if line["precision"] is None:
        return f"–{waits}"
    return f"{line['promoted']:,} ({100 * line['precision']:.0f} %){waits}"


def _gained(line: Record) -> str:
    if line["mean_gain"] is None:
        return "–"
    return f"{line['mean_gain']:+.4f} ±{line['gain_error']:.4f}"


def _cost(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def _next_run(status: Record, now: datetime) -> list[tuple[str, str]]:
    due = datetime.fromisoformat(status["next_run"])
    said = f"{due:%Y-%m-%d %H:%M} {status['time_zone']}, in {ago(due - now)}"
    return [("next run", said), ("deployment", str(status["deployment"]["words"]))]
