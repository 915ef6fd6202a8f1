"""Stage: a validated day becomes public, with the counts and sketches that later stages read."""

from datetime import date, timedelta
from pathlib import Path

from tasks.errors import LakeError
from tasks.interactions.publish import Publication, publish_day
from tasks.interactions.staged import read_manifest
from tasks.plan import closed_attempts, is_under_way
from tasks.references import Published, Staged
from tasks.stage import Clock, logger, stage, tell_refused
from tasks.workspace import Workspace


@stage
def publish(workspace: Workspace, staged: Staged, force: bool) -> Published:
    """Publish the staged day in one commit, then count its hours; the same day twice is one day.

    `force` starts another attempt at a day that is complete; its rows stay as they are.
    """
    clock = Clock()
    found = read_manifest(Path(staged.folder))
    if found is None:
        raise LakeError(
            f"{staged.folder} is gone or half-written since it was staged. Run the day again."
        )
    made = publish_day(workspace.lake, found)
    for day in _days_to_count(workspace, made):
        _count_hours(workspace, day, made.version)
    published = Published(
        day=made.day,
        revision=made.revision,
        attempt=_attempt(workspace, made, force),
        rows_read=made.rows_read,
        published=made.published,
        quarantined=made.quarantined,
        duplicates=made.duplicates,
        late=made.late,
        quarantine_reasons=dict(made.quarantine_reasons),
        interactions=made.version,
        items=workspace.lake.table_version("items"),
        item_hours=workspace.lake.table_version("item_hours"),
    )
    published = published.model_copy(update={"seconds": clock.seconds})
    published = _recorded(workspace, published, staged.source_digest)
    found.discard()
    logger.info(
        "%s  publish    revision %d, version %d%s",
        published.day,
        published.revision,
        published.interactions,
        f", {published.late:,} late rows to their own days" if published.late else "",
    )
    tell_refused(published.day, made.quarantine_reasons, workspace.lake.uri("quarantine"))
    return published


def _attempt(workspace: Workspace, made: Publication, force: bool) -> int:
    """0 at first; a day that is complete is only attempted again on demand, or to end what began."""
    closed = len(closed_attempts(workspace, made.day, made.revision))
    again = force or is_under_way(workspace, made.day, made.revision)
    return closed if again else max(closed - 1, 0)


def _recorded(workspace: Workspace, published: Published, source_digest: str) -> Published:
    """The publication as the journal keeps it: a repeat trains on the same table versions.

    Keyed by the source too: two sources may hold the same rows of a day, and one may come back. A
    further attempt is recorded as well: it reads newer tables than the one before it.
    """
    from tasks.registry.journal import Outcome

    outcome = Outcome(
        reason=f"revision {published.revision}: {published.published:,} rows",
        day=published.day,
        evidence={**published.model_dump(mode="json"), "source_digest": source_digest},
    )
    attempt = f"a{published.attempt}/" if published.attempt else ""
    key = f"{published.day}/r{published.revision}/{attempt}published/{source_digest[:16]}"
    entry = workspace.journal.once(key, "published", lambda: outcome)
    evidence = {k: v for k, v in entry.evidence.items() if k != "source_digest"}
    return Published.model_validate(evidence)


def _days_to_count(workspace: Workspace, made: Publication) -> list[date]:
    """The days whose rows changed; a correction may also have taken late rows out of others."""
    if made.superseded is None:
        return list(made.days)
    late = workspace.config.source.late_days
    around = {made.day + timedelta(days=n) for n in range(-late, 2)}
    return sorted(around | set(made.days))


def _count_hours(workspace: Workspace, day: date, version: int) -> None:
    from tasks.recommender.statistics import count_item_hours

    rows = workspace.lake.read(
        "interactions",
        columns=["event_date", "event_time", "item_id", "label"],
        days=(day, day),
        version=version,
    )
    # The table's version grows with every publication, so an older count never replaces a newer.
    workspace.lake.replace_day(
        "item_hours", day, count_item_hours(rows), app_id=f"item_hours/{day}", app_version=version
    )
