"""Stage: what nobody can need any more is removed, once a week at the end of a day.

What stays is decided in tasks/registry/retention.py; the journal names what went.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks.errors import PipelineError
from tasks.evidence import forget_evidence
from tasks.in_shadow import in_shadow, shadow_of
from tasks.stage import Clock, logger, stage
from tasks.status import unfinished_days
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.version import ModelVersion

EVERY_DAYS = 7
"""So often the daily flow prunes by itself."""

TABLES = ("interactions", "items", "item_hours", "profiles", "quarantine", "evidence")
"""Tables of which old states go."""

JOURNAL_DAYS = 7
"""Merged files of the journal stay so long, for readers that still hold an old version of it."""


@dataclass(frozen=True)
class Kept:
    """What stays, and why."""

    versions: dict[str, str]
    """Model version to the reason."""
    tables: dict[str, set[int]]
    """Table to the older versions of it that a kept model or an unfinished day names."""


def prune(workspace: Workspace, *, dry_run: bool = False) -> dict[str, Any]:
    """Remove model versions and files of the lake that nothing can need; says what, and what stays.

    Raises:
        RegistryError: a run holds the pipeline; prune when it is over.
    """
    with workspace.alone():
        now, clock = datetime.now(UTC), Clock()
        registered = workspace.registry.versions()
        kept = what_is_kept(workspace, registered, now)
        gone = [one.version for one in registered if one.version not in kept.versions]
        if not dry_run:
            # First the record: whoever looks for a version finds it here or in the registry.
            _record(workspace, now, gone, kept)
            gone = [version for version in gone if workspace.registry.remove(version)]
            forget_evidence(workspace, _oldest_evidence(workspace, now), set(in_shadow(workspace)))
        files = _vacuum(workspace, kept, dry_run=dry_run)
        return {
            "pipeline": workspace.name,
            "dry_run": dry_run,
            "removed_versions": gone,
            "kept_versions": kept.versions,
            "removed_files": files,
            "kept_table_versions": {name: sorted(found) for name, found in kept.tables.items()},
            "seconds": clock.seconds,
        }


@stage
def prune_weekly(workspace: Workspace) -> None:
    """Prune if a week has passed since the last time; a failure is a warning, the day is complete."""
    if not is_due(workspace, datetime.now(UTC)):
        return
    try:
        done = prune(workspace)
    except PipelineError as error:
        logger.warning("prune      failed, and is tried again tomorrow: %s", error)
        return
    logger.info("prune      %s", words(done))


def is_due(workspace: Workspace, now: datetime) -> bool:
    """Whether the last pruning, or else the pipeline's first entry, is a week old."""
    pruned = workspace.journal.entries(event="pruned")
    since = pruned[-1:] or workspace.journal.entries()[:1]
    return bool(since) and now - since[0].recorded_at >= timedelta(days=EVERY_DAYS)


def words(done: dict[str, Any]) -> str:
    """What was, or would be, removed, in one line."""
    verb = "would remove" if done["dry_run"] else "removed"
    files = sum(done["removed_files"].values())
    return (
        f"{verb} {len(done['removed_versions']):,} model versions and {files:,} files of old table "
        f"states; {len(done['kept_versions']):,} versions stay"
    )


def what_is_kept(workspace: Workspace, registered: "list[ModelVersion]", now: datetime) -> Kept:
    """What the live model, those that wait or can be rolled back to, and unfinished days need."""
    from tasks.registry.retention import kept_versions

    settings, journal = workspace.config.retention, workspace.journal
    versions = kept_versions(
        registered,
        pinned=_pinned(workspace),
        ascent=journal.ascent(),
        moves=journal.moves(),
        newest=settings.versions,
        rollback_days=settings.rollback_days,
        now=now,
    )
    tables: dict[str, set[int]] = {}
    named = [_data_versions(one) for one in registered if one.version in versions]
    for each in [*named, *_unfinished_states(workspace)]:
        for table, version in each.items():
            tables.setdefault(table, set()).add(version)
    return Kept(versions, tables)


def _pinned(workspace: Workspace) -> dict[str, str]:
    """Versions that an alias or a day which is not closed yet stands on, and those in shadow."""
    aliased = {version: alias for alias, version in workspace.registry.aliases().items()}
    unfinished = set(unfinished_days(workspace))
    trained = {
        entry.model_version: f"challenger of {entry.day}, which is not closed"
        for entry in workspace.journal.entries(event="trained")
        if entry.model_version and entry.day in unfinished
    }
    shadowed = {
        version: f"in shadow until {shadow_of(entry).until}"
        for version, entry in in_shadow(workspace).items()
    }
    return {**shadowed, **trained, **aliased}


def _oldest_evidence(workspace: Workspace, now: datetime) -> date:
    """The first day whose evidence stays, though nobody is judged by it any more."""
    return (now - timedelta(days=workspace.config.retention.delta_days)).date()


def _data_versions(version: "ModelVersion") -> dict[str, int]:
    from tasks.registry.version import DATA_VERSIONS

    return json.loads(version.tags.get(DATA_VERSIONS, "{}"))


def _unfinished_states(workspace: Workspace) -> list[dict[str, int]]:
    """The table versions that days which stopped half-way will read when they continue."""
    unfinished = set(unfinished_days(workspace))
    published = workspace.journal.entries(event="published")
    return [
        {table: entry.evidence[table] for table in ("interactions", "items", "item_hours")}
        for entry in published
        if entry.day in unfinished
    ]


def _vacuum(workspace: Workspace, kept: Kept, *, dry_run: bool) -> dict[str, int]:
    from tasks.interactions.vacuum import vacuum

    days = workspace.config.retention.delta_days
    lake = workspace.lake
    files = {
        table: vacuum(lake, table, days=days, keep=kept.tables.get(table, ()), dry_run=dry_run)
        for table in TABLES
    }
    return files | {"journal": vacuum(lake, "journal", days=JOURNAL_DAYS, dry_run=dry_run)}


def _record(workspace: Workspace, now: datetime, gone: list[str], kept: Kept) -> None:
    from tasks.registry.journal import Outcome

    reason = f"{len(gone):,} model versions removed, {len(kept.versions):,} kept"
    evidence = {"versions": gone, "kept": kept.versions}
    workspace.journal.once(
        f"pruned/{now.isoformat()}", "pruned", lambda: Outcome(reason, evidence=evidence)
    )
