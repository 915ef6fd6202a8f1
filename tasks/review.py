"""A person's decisions about versions: approve, reject, force, roll back. No Prefect: they are fast.

Each is carried into the registry first, under its lock, and recorded in the journal after that from
what the registry remembers; so a repeat after a kill records the decision that was made.
"""

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, RegistryError
from tasks.live import reconcile
from tasks.models import name_of
from tasks.notify import tell_move
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.version import ModelVersion, Review

MAX_REASON = 1000
"""Characters of a reason: MLflow's tags and pages hold little more."""


@dataclass(frozen=True)
class Decided:
    """What came of a decision."""

    pipeline: str
    decision: str
    """approved | rejected | promoted | promoted by force | rolled back."""
    version: str | None
    """The version decided about; after a rollback, the one that is live again (None: zero-shot)."""
    champion: str | None
    """What is live now."""
    by: str
    reason: str
    at: datetime
    changed: bool
    """False where the same had been decided before."""

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return asdict(self) | {"at": self.at.isoformat()}

    @property
    def words(self) -> str:
        """One line for the terminal."""
        live = f"{name_of(self.champion)} is live"
        before = "" if self.changed else "already "
        if self.decision == "rolled back":
            return f"{self.pipeline}: {before}rolled back; {live}."
        return f"{self.pipeline}: {name_of(self.version)} {before}{self.decision} by {self.by}; {live}."


@dataclass(frozen=True)
class Standing:
    """Where a version stands that somebody wants to be promoted."""

    pipeline: str
    version: str
    champion: str | None
    """What is live now."""
    verdict: str
    """The gate's."""
    reason: str
    """The gate's sentence."""
    waits: bool
    """Whether it waits for approval."""

    @property
    def is_live(self) -> bool:
        """Whether there is nothing to promote."""
        return self.champion == self.version

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return asdict(self) | {"live": self.is_live, "next": self.next}

    @property
    def next(self) -> str | None:
        """The command that promotes it; None for the champion."""
        if self.is_live:
            return None
        verb, force = ("approve", "") if self.waits else ("promote", "--force ")
        return f"dayspring {verb} {self.pipeline} {self.version} {force}--reason TEXT"

    @property
    def words(self) -> str:
        """What the gate said, and what could be done, for the terminal."""
        name, said = name_of(self.version), f"{self.verdict}: {self.reason}".rstrip(": ")
        if self.is_live:
            return f"{self.pipeline}: {name} is live."
        told = f"{self.pipeline}: {name} is not live. The gate said {said}."
        if self.waits:
            return f"{told}\nIt waits for approval: {self.next}"
        return (
            f"{told}\nWith --force it would replace {name_of(self.champion)} whatever the gate said, and "
            f"the journal would keep who did it and why: {self.next}"
        )


def review_of(by: str, reason: str) -> "Review":
    """A decision's author and reason, as they may be recorded.

    Raises:
        ConfigError: one is empty, or too long.
    """
    from tasks.registry.version import Review

    for name, text in (("reason", reason), ("actor", by)):
        if not text.strip():
            raise ConfigError(
                f"The {name} is empty; the journal records it. Give it: --{name} TEXT."
            )
        if len(text) > MAX_REASON:
            raise ConfigError(
                f"The {name} has {len(text):,} characters, and MLflow's page takes {MAX_REASON:,}; "
                "shorten it."
            )
    return Review(" ".join(by.split()), " ".join(reason.split()))


def version_number(text: str) -> str:
    """ "3" of "3" or "v3".

    Raises:
        ConfigError: it is neither.
    """
    if not re.fullmatch(r"v?[1-9][0-9]{0,8}", text):
        raise ConfigError(f"{text!r} is no version; write its number, such as 3 or v3.")
    return text.removeprefix("v")


def decide(workspace: Workspace, version: str, decision: str, review: "Review") -> Decided:
    """Approve or reject, or tell what somebody else has decided meanwhile."""
    if (decided := already_decided(workspace, version)) is not None:
        return decided
    return (approve if decision == "approve" else reject)(workspace, version, review)


def already_decided(workspace: Workspace, version: str) -> Decided | None:
    """A person's decision about `version`; None while it waits.

    Raises:
        RegistryError: there is no such version, or it neither waits nor was decided about.
    """
    from tasks.registry.version import REVIEW, REVIEW_BY, WAITING

    tags = workspace.registry.version(version).tags
    if tags.get(REVIEW) == WAITING:
        return None
    if REVIEW_BY not in tags:
        raise RegistryError(
            f"{name_of(version)} of {workspace.name} does not wait for a review: the gate said "
            f"{tags.get('verdict')!r}. `dayspring review {workspace.name}` lists what waits."
        )
    return _decided(workspace, version, tags[REVIEW], None)


def approve(workspace: Workspace, version: str, review: "Review") -> Decided:
    """Promote a version that waits, if the champion is still the one it was compared with.

    Raises:
        RegistryError: it does not wait, or the champion is another one; the message says what to do.
    """
    reconcile(workspace)
    moved = workspace.registry.approve(version, review)
    if not moved.moved:
        raise RegistryError(
            f"{moved.reason} Nothing was changed. Either run the next day, which trains against the "
            f"champion of now, and end this wait with `dayspring reject {workspace.name} {version}`; "
            "or roll back to that champion first and approve again."
        )
    reconcile(workspace)
    return _decided(workspace, version, "approved", review)


def reject(workspace: Workspace, version: str, review: "Review") -> Decided:
    """Let a version that waits wait no longer; the champion stays.

    Raises:
        RegistryError: it does not wait.
    """
    from tasks.registry.journal import Outcome

    workspace.registry.reject(version, review)
    decided = _decided(workspace, version, "rejected", review)
    outcome = Outcome(decided.reason, decided.by, model_version=version)
    workspace.journal.once(f"review/v{version}/rejected", "rejected", lambda: outcome)
    return decided


def force(workspace: Workspace, version: str, review: "Review") -> Decided:
    """Put a version in service whatever the gate said of it; who and why is journalled.

    `follow_up` does the rest, as after a rollback.

    Raises:
        RegistryError: there is no such version, its files are damaged, or the champion changed meanwhile.
    """
    from tasks.registry.version import FORCED, REVIEW

    reconcile(workspace)
    workspace.registry.force(version, expected=workspace.registry.standing()[0], review=review)
    reconcile(workspace)
    state = workspace.registry.version(version).tags.get(REVIEW)
    decision = "promoted by force" if state == FORCED else "promoted"
    return _decided(workspace, version, decision, review)


def gate_said(workspace: Workspace, version: str) -> Standing:
    """What the gate said of a version, and what forcing it would do; nothing is changed.

    Raises:
        RegistryError: there is no such version.
    """
    from tasks.registry.version import REASON, REVIEW, VERDICT, WAITING

    tags = workspace.registry.version(version).tags
    return Standing(
        workspace.name,
        version,
        workspace.registry.standing()[0],
        tags.get(VERDICT, "not judged"),
        tags.get(REASON, ""),
        waits=tags.get(REVIEW) == WAITING,
    )


def roll_back(workspace: Workspace, to: str | None, review: "Review") -> Decided:
    """Put an earlier champion back in service; the alias has moved when this returns.

    `follow_up` does the rest, which takes longer.

    Args:
        to: number of a version that was live before, `zero-shot`, or None for the one before.

    Raises:
        RegistryError: nothing is live, `to` never was, or the champion changed meanwhile.
    """
    reconcile(workspace)
    ascent = workspace.journal.ascent()
    live = ascent[-1] if ascent else None
    target = _target(workspace, ascent, to)
    if target == live:
        return _standing(workspace, live, review)
    move = workspace.registry.roll_back(target, expected=live, review=review)
    reconcile(workspace)
    return Decided(
        workspace.name, "rolled back", target, target, move.by, move.reason, move.at, True
    )


def follow_up(workspace: Workspace) -> None:
    """What a move of the alias need not wait for: both versions' pages in MLflow, and the notices."""
    moves = workspace.journal.moves()
    concerned = {entry.model_version for entry in moves[-2:] if entry.model_version}
    workspace.registry.describe_again(*sorted(concerned, key=int))
    if moves:
        tell_move(workspace, moves[-1])


def _target(workspace: Workspace, ascent: list[str], to: str | None) -> str | None:
    from tasks.registry.version import ZERO_SHOT

    if to == ZERO_SHOT:
        return None
    if to is None:
        if not ascent:
            raise RegistryError(
                f"{workspace.name} serves the zero-shot model: there is nothing to roll back."
            )
        return ascent[-2] if len(ascent) > 1 else None
    served = {entry.model_version for entry in workspace.journal.moves() if entry.model_version}
    if to not in served:
        known = ", ".join([*(f"v{version}" for version in sorted(served, key=int)), ZERO_SHOT])
        raise RegistryError(
            f"{name_of(to)} of {workspace.name} was never live, so nothing can be rolled back to it. "
            f"These were: {known}."
        )
    return to


def _standing(workspace: Workspace, live: str | None, review: "Review") -> Decided:
    """A rollback to what is live already: a repeat, or nothing to do."""
    moves = workspace.journal.moves()
    told = moves[-1] if moves else None
    by, reason = (told.actor, told.reason) if told else (review.by, review.reason)
    at = told.effective_at if told else review.at
    return Decided(workspace.name, "rolled back", live, live, by, reason, at, False)


def _decided(workspace: Workspace, version: str, decision: str, review: "Review | None") -> Decided:
    """What stands in the registry: of two people who decide the same, the first one's reason."""
    found = workspace.registry.version(version)
    by, reason, at = _review_tags(found)
    live = workspace.registry.standing()[0]
    changed = review is not None and at == review.at
    return Decided(workspace.name, decision, version, live, by, reason, at, changed)


def _review_tags(found: "ModelVersion") -> tuple[str, str, datetime]:
    from tasks.registry.version import REASON, REVIEW_BY, REVIEW_REASON, REVIEWED_AT

    tags = found.tags
    if REVIEW_BY not in tags:  # promoted by the gate, and no person was asked
        return "dayspring", tags.get(REASON, ""), found.live_since or found.created_at
    return tags[REVIEW_BY], tags[REVIEW_REASON], datetime.fromisoformat(tags[REVIEWED_AT])
