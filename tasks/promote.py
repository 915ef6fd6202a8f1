"""Stage: the alias moves, or stays and the reason is recorded; who lacks evidence stays in shadow."""

from tasks.evaluate import first_look
from tasks.going_live import event_of, go_live
from tasks.in_shadow import SHADOWED, could_gain, figures, in_shadow, shadow_of
from tasks.memory import recorded, remembered
from tasks.models import name_of
from tasks.notify import tell_verdict
from tasks.references import (
    Challenger,
    ContestHeld,
    Published,
    Shadow,
    ShadowJudged,
    ShadowsJudged,
    Verdict,
)
from tasks.shadow import in_shadow_until
from tasks.stage import logger, stage
from tasks.workspace import Workspace


@stage
def promote(
    workspace: Workspace,
    published: Published,
    challenger: Challenger,
    held: ContestHeld,
    shadows: ShadowsJudged,
) -> Verdict:
    """Make the challenger champion if it won, and the champion is still the one it beat."""
    verdict = remembered(
        workspace,
        published,
        "verdict",
        Verdict,
        lambda: _settle(workspace, published, challenger, held, shadows),
        reason=lambda found: found.reason,
        event=_event,
        model_version=lambda _: challenger.version,
    )
    tell_verdict(workspace, recorded(workspace, published, "verdict"))
    logger.info("%s  promote    %s: %s", published.day, verdict.decision, verdict.reason)
    return verdict


def _settle(
    workspace: Workspace,
    published: Published,
    challenger: Challenger,
    held: ContestHeld,
    shadows: ShadowsJudged,
) -> Verdict:
    """Carry the gate's decision into the registry; safe to repeat after a kill."""
    bar = workspace.config.promote
    if held.decision == "promote" and bar.shadow_days and shadows.promoted:
        first = name_of(shadows.promoted.shadow.version)
        words = f"{held.reason}; but {first} went live today, and one model a day does"
        held = held.model_copy(update={"decision": "not enough evidence", "reason": words})
    if held.decision == "not enough evidence" and bar.shadow_days:
        return _kept(workspace, challenger, held, *_seat(workspace, published, challenger, held))
    if held.decision != "promote":
        return _kept(workspace, challenger, held, held.reason)
    settled = go_live(
        workspace,
        challenger.version,
        compared_with=held.compared_with,
        reason=held.reason,
        evidence=held.contest or {},
    )
    return Verdict(**settled._asdict(), model_version=challenger.version)


def _kept(
    workspace: Workspace,
    challenger: Challenger,
    held: ContestHeld,
    reason: str,
    shadow: Shadow | None = None,
) -> Verdict:
    """Tell on the version why it does not go live."""
    workspace.registry.keep(
        challenger.version, verdict=held.decision, reason=reason, evidence=held.contest or {}
    )
    return Verdict(
        decision=held.decision,
        reason=reason,
        model_version=challenger.version,
        live_since=None,
        shadow=shadow,
        contest=figures(held.contest) if shadow else None,
    )


def _seat(
    workspace: Workspace, published: Published, challenger: Challenger, held: ContestHeld
) -> tuple[str, Shadow | None]:
    """Why the challenger stays in shadow, or why there is no place for it.

    Where all places are taken, the challenger leaves that could gain least at best.
    """
    live = workspace.registry.standing()[0]
    shadow = first_look(workspace, published, challenger.version, live)
    taken = {v: e for v, e in in_shadow(workspace).items() if v != challenger.version}
    stays = held.reason + in_shadow_until(shadow)
    if len(taken) < workspace.config.promote.shadows:
        return stays, shadow
    best = {version: could_gain(entry.evidence.get("contest")) for version, entry in taken.items()}
    # Of equals the oldest: what it knows is oldest too.
    leaving, mine = min(best, key=lambda version: best[version]), could_gain(held.contest)
    if mine < best[leaving]:
        names = ", ".join(map(name_of, taken))
        return f"{held.reason}; no place in shadow: {names} could gain more", None
    reason = (
        f"it could gain {best[leaving]:+.4f} at best, and leaves its place in shadow to "
        f"{name_of(challenger.version)}, which could gain {mine:+.4f}"
    )
    _leave(workspace, published, shadow_of(taken[leaving]), reason)
    return stays, shadow


def _leave(workspace: Workspace, published: Published, shadow: Shadow, reason: str) -> None:
    """Take a challenger out of shadow for another one."""
    decision = "not enough evidence"

    def leave() -> ShadowJudged:
        workspace.registry.keep(shadow.version, verdict=decision, reason=reason, evidence={})
        return ShadowJudged(
            shadow=shadow, decision=decision, reason=reason, contest=None, stays=False
        )

    remembered(
        workspace,
        published,
        f"left-v{shadow.version}",
        ShadowJudged,
        leave,
        reason=lambda found: found.reason,
        event=lambda _: "kept",
        model_version=lambda found: found.shadow.version,
    )


def _event(verdict: Verdict) -> str:
    return SHADOWED if verdict.shadow else event_of(verdict.decision, verdict.live_since)
