"""A challenger that won goes live, or waits for a person; or the champion has changed meanwhile."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from tasks.workspace import Workspace

WAITING = "waiting for approval"


class Settled(NamedTuple):
    """What became of it."""

    decision: str
    """promote | waiting for approval | not enough evidence."""
    reason: str
    live_since: datetime | None


def go_live(
    workspace: Workspace,
    version: str,
    *,
    compared_with: str | None,
    reason: str,
    evidence: Mapping[str, object],
) -> Settled:
    """Carry a win into the registry; safe to repeat after a kill."""
    manual = workspace.config.promote.approval == "manual"
    settle = workspace.registry.wait if manual else workspace.registry.promote
    moved = settle(version, compared_with=compared_with, reason=reason, evidence=evidence)
    decision = "promote" if moved.moved else "not enough evidence"
    return Settled(
        WAITING if moved.waiting else decision,
        reason if moved.moved else moved.reason,
        moved.live_since,
    )


def event_of(decision: str, live_since: datetime | None) -> str:
    """The journal's event of a challenger that does not stay in shadow."""
    if decision == WAITING:
        return "waiting"
    return "promoted" if live_since else "kept"
