"""Which model versions may go: never one that is live, waits, or can be rolled back to."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tasks.registry.version import REVIEW, WAITING, ModelVersion

if TYPE_CHECKING:
    from tasks.registry.journal import Entry


def kept_versions(
    versions: Iterable[ModelVersion],
    *,
    pinned: Mapping[str, str],
    ascent: Sequence[str],
    moves: "Sequence[Entry]",
    newest: int,
    rollback_days: int,
    now: datetime,
) -> dict[str, str]:
    """The versions that stay, each with the first reason for it.

    Args:
        versions: all that the registry has.
        pinned: versions that something stands on (an alias, a day that is not closed), and what.
        ascent: champions one over the other, the live one last (`Journal.ascent`).
        moves: what changed the live model, oldest first (`Journal.moves`).
        newest: so many of the newest versions stay whatever became of them.
        rollback_days: every version that was live within so many days stays.
        now: the present.
    """
    there = {version.version: version for version in versions}
    by_age = sorted(there, key=int, reverse=True)
    served = live_since(moves, now - timedelta(days=rollback_days))
    reasons = [
        dict(pinned),
        dict.fromkeys(ascent[-1:], "live"),
        # However long ago it was live: a rollback without a version leads there.
        dict.fromkeys(ascent[-2:-1], "live before the champion"),
        {v: "waits for a review" for v, one in there.items() if one.tags.get(REVIEW) == WAITING},
        dict.fromkeys(served, f"live within {rollback_days} days"),
        dict.fromkeys(by_age[:newest], f"one of the newest {newest}"),
    ]
    kept: dict[str, str] = {}
    for why in reasons:
        kept = {**why, **kept}
    return {version: kept[version] for version in by_age if version in kept}


def live_since(moves: "Sequence[Entry]", begin: datetime) -> set[str]:
    """The versions that were live at some moment from `begin` on."""
    ends = [move.effective_at for move in moves[1:]]
    over = [move for move, end in zip(moves, ends, strict=False) if end < begin]
    return {move.model_version for move in moves[len(over) :] if move.model_version}
