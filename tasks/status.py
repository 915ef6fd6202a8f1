"""How a pipeline stands, from its journal and two small questions: what `status` answers in a second.

Nothing here imports MLflow, Prefect's engine or torch.
"""

from collections.abc import Sequence
from datetime import date, datetime
from statistics import linear_regression
from typing import Any

from tasks.config import zone
from tasks.in_shadow import told
from tasks.ledger import ledger_of
from tasks.models import name_of
from tasks.plan import days_between
from tasks.records import gaps, newest_closed
from tasks.superseded import superseded_models
from tasks.workspace import Workspace

SHOWN_DAYS = 7
"""Days that status shows."""

TREND_DAYS = 7
"""Days over which the AUC's slope is taken: a week, so that weekdays do not make a trend."""


def status_of(workspace: Workspace, now: datetime) -> dict[str, Any]:
    """The pipeline as one JSON document: days, champion, trend, reviews, the next run."""
    from tasks.registry.alias import champion_version

    closed = newest_closed(workspace)
    records = [entry.evidence["record"] for entry in list(closed.values())[-SHOWN_DAYS:]]
    champion = champion_version(workspace.registry) if closed else None
    since = _live_since(workspace, champion) if closed else None
    schedule = workspace.config.schedule
    return {
        "pipeline": workspace.name,
        "words": _words(records, champion),
        "champion": champion,
        "champion_since": since.isoformat() if since else None,
        "champion_trained_through": _trained_through(workspace, champion),
        "last_day": records[-1]["day"] if records else None,
        "complete_days": len(closed),
        "missing_days": [str(day) for gap in gaps(list(closed)) for day in days_between(*gap)],
        "unfinished_days": [str(day) for day in unfinished_days(workspace)],
        "auc": _auc(records[-TREND_DAYS:]),
        "waiting": waiting_versions(workspace),
        "triggers": ledger_of(workspace),
        "shadows": told(workspace),
        "why": _why(records),
        "superseded": sorted({each.version for each in superseded_models(workspace)}, key=int),
        "next_run": schedule.next_run(now).isoformat(),
        "time_zone": schedule.time_zone,
        "today": str(now.astimezone(zone(workspace.config)).date()),
        "days": records,
    }


def live_at(workspace: Workspace, moment: datetime) -> dict[str, Any]:
    """Which model was live at `moment`, since when and why; a naive time is in the source's zone."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone(workspace.config))
    moves = [e for e in workspace.journal.moves() if e.effective_at <= moment]
    move = moves[-1] if moves else None
    return {
        "pipeline": workspace.name,
        "at": moment.isoformat(),
        "champion": workspace.journal.champion_at(moment),
        "champion_since": move.effective_at.isoformat() if move else None,
        "event": move.event if move else None,
        "reason": move.reason if move else "nothing had been promoted yet",
        "actor": move.actor if move else None,
    }


def unfinished_days(workspace: Workspace) -> list[date]:
    """Days that were published, but whose newest publication has not been closed."""
    newest = {
        entry.day: entry.event
        for entry in workspace.journal.entries()
        if entry.day and entry.event in ("published", "closed")
    }
    return sorted(day for day, event in newest.items() if event == "published")


def waiting_versions(workspace: Workspace) -> list[str]:
    """Versions that won and wait for a person's approval, oldest first."""
    journal = workspace.journal
    decided = {
        entry.model_version
        for event in ("approved", "rejected", "forced")
        for entry in journal.entries(event=event)
    }
    waiting = [entry.model_version for entry in journal.entries(event="waiting")]
    return [version for version in waiting if version and version not in decided]


def _live_since(workspace: Workspace, champion: str | None) -> datetime | None:
    """When the alias moved to where it is: the journal knows, else (after a kill) the version."""
    moves = workspace.journal.moves()
    if moves and moves[-1].model_version == champion:
        return moves[-1].effective_at
    return workspace.registry.version(champion).live_since if champion else None


def _trained_through(workspace: Workspace, champion: str | None) -> str | None:
    """Time of the newest row that the champion has learned from."""
    trained = workspace.journal.entries(event="trained") if champion else []
    found = [entry for entry in trained if entry.model_version == champion]
    return found[-1].evidence.get("trained_through") if found else None


def _words(records: Sequence[dict[str, Any]], champion: str | None) -> str:
    if not records:
        return "no day yet"
    last = records[-1]
    return f"champion {name_of(champion)}; last day {last['day']}: {last['verdict']}"


def _why(records: Sequence[dict[str, Any]]) -> str | None:
    """The last day's sentence, in which it says why its challenger went live or did not."""
    return records[-1].get("reason") if records else None


def _auc(records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The champion's prequential AUC by day with zero-shot's, and whether it moves."""
    scored = [record for record in records if record["champion_auc"] is not None]
    if not scored:
        return None
    values = [record["champion_auc"] for record in scored]
    days = [date.fromisoformat(record["day"]).toordinal() for record in scored]
    return {
        "days": [record["day"] for record in scored],
        "champion": values,
        "zero_shot": [record["zero_shot_auc"] for record in scored],
        **trend(days, values),
    }


def trend(days: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    """Rising or falling, by how much over the days' span, by a least-squares line.

    A slope within two of its standard errors is called steady: a single good or bad day is no trend.
    """
    if len(values) < 3:
        return {"trend": "too few days", "change": None}
    line = linear_regression(days, values)
    mean = sum(days) / len(days)
    spread = sum((day - mean) ** 2 for day in days)
    residual = sum(
        (value - line.intercept - line.slope * day) ** 2
        for day, value in zip(days, values, strict=True)
    )
    error = (residual / (len(values) - 2) / spread) ** 0.5
    moved = abs(line.slope) > 2 * error
    direction = ("rising" if line.slope > 0 else "falling") if moved else "steady"
    return {"trend": direction, "change": line.slope * (days[-1] - days[0])}
