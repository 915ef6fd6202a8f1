"""Telling people, after the fact is journalled; what cannot be delivered never fails a day.

At least once: a notice is sent, then recorded under its fact's key, and what is recorded is not sent
again. So repeated runs do not repeat it, and a run killed between the two sends it twice.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasks.config import NoticeKind
from tasks.models import name_of
from tasks.notices import words
from tasks.notices.words import Message
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry, Outcome

logger = logging.getLogger("dayspring")


def tell_move(workspace: Workspace, move: "Entry") -> None:
    """Tell that another model is live."""
    tell_once(
        workspace,
        "promotion",
        move,
        lambda: words.promotion(
            workspace.name,
            str(move.day) if move.day else None,
            name_of(move.model_version),
            move.event,
            move.actor,
            move.reason,
            move.effective_at.isoformat(timespec="seconds"),
        ),
    )


def tell_verdict(workspace: Workspace, verdict: "Entry") -> None:
    """Tell of a promotion, or that a version waits; a champion that was kept is no news."""
    if verdict.event == "promoted":
        tell_move(workspace, verdict)
    elif verdict.event == "waiting":
        version = str(verdict.model_version)
        tell_once(
            workspace,
            "approval",
            verdict,
            lambda: words.approval(workspace.name, str(verdict.day), version, verdict.reason),
        )


def tell_drift(workspace: Workspace, profiled: "Entry") -> None:
    """Tell which columns drifted, if any did."""
    report: dict[str, Any] | None = profiled.evidence["report"]
    if report and report["drifted"]:
        tell_once(
            workspace,
            "drift",
            profiled,
            lambda: words.drift(workspace.name, str(profiled.day), report),
        )


def tell_once(
    workspace: Workspace, kind: NoticeKind, fact: "Entry", message: Callable[[], Message]
) -> None:
    """Send what is known of `fact` to whom `notify` names for its kind, unless that was done."""
    if not _addresses(workspace, kind):
        return

    def told() -> "Outcome":
        from tasks.registry.journal import Outcome

        reached = tell(workspace, kind, message())
        return Outcome(f"told {reached} of {kind}", day=fact.day)

    workspace.journal.once(f"{fact.key}/notified", "notified", told)


def tell(workspace: Workspace, kind: NoticeKind, message: Message) -> str:
    """Send `message` to all whom `notify` names for its kind; says how many of them it reached."""
    from tasks.notices.send import send

    addresses = _addresses(workspace, kind)
    missed = [trouble for url in addresses if (trouble := _attempt(send, url, message))]
    if missed:
        logger.warning("A notice of %s was not delivered: %s", kind, "; ".join(missed))
    return f"{len(addresses) - len(missed)} of {len(addresses)} places"


def _attempt(send: Callable[[str, Message], str | None], url: str, message: Message) -> str | None:
    try:
        return send(url, message)
    except Exception as error:  # a day does not fail because a chat service does
        return f"{url.partition(':')[0]}://…: {type(error).__name__}"


def _addresses(workspace: Workspace, kind: NoticeKind) -> list[str]:
    return [notice.to for notice in workspace.notices if notice.to and kind in notice.events]
