"""Models that learned from rows which a corrected file has since replaced, and what repairs them."""

from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks.config import zone
from tasks.models import name_of, pruned_versions
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry


@dataclass(frozen=True)
class Superseded:
    """A version that was trained on an old revision of a day."""

    version: str
    day: date
    """The day that was corrected."""
    learned_from: int
    """The revision that the version was trained on."""
    revision: int
    """The day's newest one."""

    @property
    def words(self) -> str:
        """The finding in one sentence."""
        return (
            f"{name_of(self.version)} learned from revision {self.learned_from} of {self.day}, "
            f"which revision {self.revision} has replaced"
        )

    def to_json(self) -> dict[str, Any]:
        """The finding in JSON types."""
        return {**asdict(self), "day": str(self.day)}


def superseded_models(workspace: Workspace, day: date | None = None) -> list[Superseded]:
    """The versions that were trained on a replaced revision, of `day` or of any; oldest first.

    A version is told once for each of its days that was corrected after it was trained. What was
    published for the first time after a training is no correction: the version never saw the day.
    """
    corrected = _corrected(workspace, day)
    if not corrected:
        return []
    found = []
    read = _read_at(workspace)
    for trained in workspace.journal.entries(event="trained"):
        first, last = _learned_days(workspace, trained)
        seen = read[trained.key.removesuffix("trained")]
        for each, known in sorted(corrected.items()):
            if first <= each <= last:
                old = max((r for r, version in known.items() if version <= seen), default=None)
                if old is not None and old < max(known):
                    found.append(Superseded(str(trained.model_version), each, old, max(known)))
    return found


def repair_commands(workspace: Workspace, found: list[Superseded]) -> list[str]:
    """What brings the champion back to the present revisions; empty if it learned from no old one.

    Days that the champion knows are only published (docs/decisions/0003), so the way back is to
    the newest champion that knows none of the replaced rows, and forward again from there.
    """
    live = workspace.registry.champion()
    stale = {each.version for each in found}
    if live is None or live.version not in stale:
        return []
    first = min(each.day for each in found if each.version == live.version)
    back, begin = None, first
    unfit = stale | pruned_versions(workspace)
    # Not every model that was ever live: one that was rolled back is no place to return to.
    for version in reversed(workspace.journal.ascent()):
        if version in unfit:
            continue
        through = _day_of(workspace, workspace.registry.version(version).trained_through)
        back, begin = version, max(first, through + timedelta(days=1))
        break
    last = max(e.day for e in workspace.journal.entries(event="closed") if e.day)
    pipeline = workspace.name
    return [
        f"dayspring rollback {pipeline} --to {back or 'zero-shot'} "
        f'--reason "{first} was corrected"',
        f"dayspring backfill {pipeline} --from {begin} --to {last} --force",
    ]


def _corrected(workspace: Workspace, day: date | None) -> dict[date, dict[int, int]]:
    """For each day with more than one revision, the table version that first held each of them."""
    published: dict[date, list[Entry]] = {}
    for entry in workspace.journal.entries(day, "published"):
        if entry.day is not None:
            published.setdefault(entry.day, []).append(entry)
    known: dict[date, dict[int, int]] = {}
    for each, entries in published.items():
        # A day that was published once is not parsed: nearly all are.
        for evidence in [entry.evidence for entry in entries] if len(entries) > 1 else ():
            known.setdefault(each, {}).setdefault(evidence["revision"], evidence["interactions"])
    return {each: revisions for each, revisions in known.items() if len(revisions) > 1}


def _read_at(workspace: Workspace) -> dict[str, int]:
    """The table version that each attempt at a day reads, by the beginning of its steps' keys."""
    found: dict[str, int] = {}
    for entry in workspace.journal.entries(event="published"):
        made = entry.evidence
        key = f"{entry.day}/r{made['revision']}/a{made.get('attempt', 0)}/"
        found.setdefault(key, made["interactions"])
    return found


def _learned_days(workspace: Workspace, trained: "Entry") -> tuple[date, date]:
    """First and last day that a version learned from."""
    evidence = trained.evidence
    first, last = (
        _day_of(workspace, datetime.fromisoformat(evidence[name]))
        for name in ("trained_from", "trained_through")
    )
    return first, last


def _day_of(workspace: Workspace, moment: datetime | None) -> date:
    assert moment is not None, "every version that Dayspring registers says what it learned from"
    return moment.astimezone(zone(workspace.config)).date()
