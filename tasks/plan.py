"""What is complete, and what would run: asked before a day starts, and by `--dry-run`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

from tasks.errors import SourceError
from tasks.sources import day_digest
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry

OVERTAKEN = "overtaken"
"""Event of a scheduled day that was passed over: nothing of it was done."""

INGESTED = "ingested only"
"""Verdict of a day that was published and not adapted to."""


@dataclass(frozen=True)
class DayPlan:
    """What a backfill does with one day, and why."""

    day: date
    action: Literal["run", "continue", "repeat", "skip", "missing"]
    reason: str
    record: dict[str, Any] | None = None
    """The record of a day that is skipped."""

    def to_json(self) -> dict[str, Any]:
        """The plan as `backfill --dry-run --json` prints it."""
        return {"day": str(self.day), "action": self.action, "reason": self.reason}


def days_between(first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def plan_days(
    workspace: Workspace, first: date, last: date, *, force: bool, only_ingest: bool = False
) -> list[DayPlan]:
    """The plan of each day from `first` to `last`, oldest first."""
    plan = plan_ingest if only_ingest else plan_day
    return [plan(workspace, day, force=force) for day in days_between(first, last)]


def plan_day(workspace: Workspace, day: date, *, force: bool) -> DayPlan:
    """The plan of one day: a complete one with unchanged inputs is skipped unless `force`."""
    try:
        digest = day_digest(workspace.config.source, day)
    except SourceError as error:
        return DayPlan(day, "missing", str(error))
    entries = [e for e in workspace.journal.entries(day=day) if e.event != OVERTAKEN]
    closed = [entry for entry in entries if entry.event == "closed"]
    if not entries:
        return DayPlan(day, "run", "new")
    if not closed:
        return DayPlan(day, "continue", _stopped_after(entries[-1].event))
    record = closed[-1].evidence["record"]
    published = [entry.evidence for entry in entries if entry.event == "published"]
    known = {(each["source_digest"], each["revision"]) for each in published}
    if (digest, record["revision"]) not in known:
        return DayPlan(day, "run", f"the source changed since revision {record['revision']}")
    if is_under_way(workspace, day, record["revision"]):
        return DayPlan(day, "continue", f"another attempt stopped after {entries[-1].event}")
    if force:
        return DayPlan(day, "repeat", f"--force; revision {record['revision']} is complete")
    return DayPlan(day, "skip", f"complete, revision {record['revision']}", record)


def _stopped_after(event: str) -> str:
    return "published, not adapted to" if event == "published" else f"stopped after {event}"


def plan_ingest(workspace: Workspace, day: date, *, force: bool) -> DayPlan:
    """The plan of a day that is only to be published: what is published unchanged is skipped."""
    try:
        digest = day_digest(workspace.config.source, day)
    except SourceError as error:
        return DayPlan(day, "missing", str(error))
    published = [entry.evidence for entry in workspace.journal.entries(day, "published")]
    if not published:
        return DayPlan(day, "run", "new; ingest only")
    revision = published[-1]["revision"]
    if published[-1]["source_digest"] != digest:
        return DayPlan(day, "run", f"the source changed since revision {revision}; ingest only")
    if force:
        return DayPlan(day, "repeat", f"--force; revision {revision} is published; ingest only")
    reason = f"published, revision {revision}"
    return DayPlan(day, "skip", reason, ingested_record(workspace, published[-1]))


def ingested_record(workspace: Workspace, published: Mapping[str, Any]) -> dict[str, Any]:
    """What `--json` prints of a day that was published and not adapted to."""
    facts = ("day", "revision", "rows_read", "published", "quarantined", "duplicates", "late")
    return {
        "pipeline": workspace.name,
        **{name: published[name] for name in facts},
        "quarantine_reasons": published["quarantine_reasons"],
        "champion_auc": None,
        "zero_shot_auc": None,
        "drift": None,
        "trigger": None,
        "contest": None,
        "model_version": None,
        "verdict": INGESTED,
        "reason": "only ingested, as asked; a plain backfill adapts to the day",
        "seconds": {"publish": published["seconds"]},
    }


def is_under_way(workspace: Workspace, day: date, revision: int) -> bool:
    """Whether an attempt at `revision` of `day` has begun and is not complete."""
    attempt = len(closed_attempts(workspace, day, revision))
    begun = f"{day}/r{revision}/a{attempt}/"
    return any(entry.key.startswith(begun) for entry in workspace.journal.entries(day))


def closed_attempts(workspace: Workspace, day: date, revision: int) -> "list[Entry]":
    """The entries that completed attempts at `revision` of `day`."""
    done = f"{day}/r{revision}/"
    closed = workspace.journal.entries(day, "closed")
    return [entry for entry in closed if entry.key.startswith(done)]


def completed_record(workspace: Workspace, day: date) -> dict[str, Any] | None:
    """The record of `day` if it is complete and its inputs have not changed."""
    return plan_day(workspace, day, force=False).record


def overtaken_record(workspace: Workspace, day: date) -> dict[str, Any] | None:
    """A record, kept in the journal, of why `day` is passed over; None if no later day is complete.

    A late run would only publish (docs/decisions/0003), and its rows' time has passed: a person
    decides when, by the command that the reason names.
    """
    from tasks.registry.journal import Outcome

    later = [e.day for e in workspace.journal.entries(event="closed") if e.day and e.day > day]
    if not later:
        return None
    reason = (
        f"{max(later)} is complete already; to publish {day} nevertheless: "
        f"dayspring run {workspace.name} --day {day}"
    )
    record = {"pipeline": workspace.name, "day": str(day), "verdict": OVERTAKEN, "reason": reason}
    outcome = Outcome(reason=reason, day=day, evidence={"record": record})
    entry = workspace.journal.once(f"{day}/{OVERTAKEN}", OVERTAKEN, lambda: outcome)
    return entry.evidence["record"]
