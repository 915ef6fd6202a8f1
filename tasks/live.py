"""What is live: the alias in the registry and the journal's record of it, held to be one story."""

from datetime import date
from typing import TYPE_CHECKING

from tasks.errors import RegistryError
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry, Outcome
    from tasks.registry.version import Move

FOUND = "found in the registry"
"""The journal's actor of a move that nobody told Dayspring of."""


def reconcile(workspace: Workspace, continued: date | None = None) -> "Entry | None":
    """Record the move that the alias made and the journal does not know; None if it knows all.

    A promotion by the day `continued`, which was killed before it could record it, is left to that
    day: it finds its challenger promoted and records the verdict with all its evidence.

    Such a move was Dayspring's, whose run was killed before it could record it (the registry then
    says who moved it, when and why), or it was made outside, as in MLflow's own UI: then its time is
    the time at which it was found. Safe to call at any moment and to repeat.

    Raises:
        RegistryError: the registry or the journal cannot be read or written, or the registry has
            lost the version that the journal says is live.
    """
    live, untold = untold_move(workspace)
    if untold is not None:
        if continued is not None and _will_be_recorded(workspace, untold, continued):
            return None
        return record_move(workspace, untold)
    if live == told_champion(workspace):
        return None
    if live is None:
        refuse_lost(workspace)
    moves = workspace.journal.moves()
    key = f"found/{live or 'zero-shot'}/after/{moves[-1].key if moves else 'nothing'}"
    event = "promoted" if live is not None else "rolled_back"
    return workspace.journal.once(key, event, lambda: _found(workspace, live))


def told_champion(workspace: Workspace) -> str | None:
    """The version that is live by the journal's last move; None is the zero-shot model.

    The last move, and not the one before now: a clock that was set back changes nothing of it.
    """
    moves = workspace.journal.moves()
    return moves[-1].model_version if moves else None


def untold_move(workspace: Workspace) -> "tuple[str | None, Move | None]":
    """What is live in the registry, and how it came there if the journal has not been told."""
    live, last = workspace.registry.standing()
    moves = workspace.journal.moves()
    is_ours = last is not None and last.version == live
    is_news = last is not None and (not moves or last.at > moves[-1].effective_at)
    return live, last if is_ours and is_news else None


def _will_be_recorded(workspace: Workspace, move: "Move", day: date) -> bool:
    """Whether `day`, repeated with the source as it is, comes to the promotion that was the move."""
    from tasks.plan import plan_day
    from tasks.sources import day_digest

    if move.event != "promoted" or plan_day(workspace, day, force=False).action != "continue":
        return False
    entries = workspace.journal.entries(day=day)
    # What the day made, and what of those in shadow it decided to promote.
    steps = {entry.event: entry for entry in entries if entry.event in ("trained", "shadows")}
    published = [entry for entry in entries if entry.event == "published"]
    return move.version in {entry.model_version for entry in steps.values()} and published[
        -1
    ].evidence["source_digest"] == day_digest(workspace.config.source, day)


def refuse_lost(workspace: Workspace) -> None:
    """See that the version that the journal calls live is still there, though no alias is on it.

    Raises:
        RegistryError: it is not. To go on would be to begin again without telling anyone.
    """
    recorded = told_champion(workspace)
    if recorded is not None and not workspace.registry.has(recorded):
        raise RegistryError(
            f"The journal says that v{recorded} of {workspace.registry.name} is live, but the registry "
            f"{workspace.tracking_uri} does not know it: the registry was lost or replaced, or the "
            "version deleted. Restore the registry from a backup; or promote another version by "
            "setting the alias `champion` in MLflow."
        )


def record_move(workspace: Workspace, move: "Move") -> "Entry":
    """The journal's entry of a move that the registry remembers; once, whoever records it."""
    from tasks.registry.journal import LIVE_SINCE, Outcome

    at = move.at.isoformat()
    outcome = Outcome(move.reason, move.by, model_version=move.version, evidence={LIVE_SINCE: at})
    return workspace.journal.once(f"move/{at}", move.event, lambda: outcome)


def _found(workspace: Workspace, live: str | None) -> "Outcome":
    from tasks.registry.journal import LIVE_SINCE, Outcome
    from tasks.registry.version import moment_after

    moves = workspace.journal.moves()
    at = moment_after(moves[-1].effective_at if moves else None)
    where = f"stands on version {live}" if live else "is gone"
    return Outcome(
        f"The alias champion {where}; it was moved outside Dayspring, at an unknown time before this.",
        FOUND,
        model_version=live,
        evidence={LIVE_SINCE: at.isoformat()},
    )
