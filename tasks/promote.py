"""Stage: the alias moves, or stays and the reason is recorded."""

from tasks.memory import recorded, remembered
from tasks.notify import tell_verdict
from tasks.references import Challenger, ContestHeld, Published, Verdict
from tasks.stage import logger, stage
from tasks.workspace import Workspace


@stage
def promote(
    workspace: Workspace, published: Published, challenger: Challenger, held: ContestHeld
) -> Verdict:
    """Make the challenger champion if it won, and the champion is still the one it beat."""
    verdict = remembered(
        workspace,
        published,
        "verdict",
        Verdict,
        lambda: _settle(workspace, challenger, held),
        reason=lambda found: found.reason,
        event=_event,
        model_version=lambda _: challenger.version,
    )
    tell_verdict(workspace, recorded(workspace, published, "verdict"))
    logger.info("%s  promote    %s: %s", published.day, verdict.decision, verdict.reason)
    return verdict


def _settle(workspace: Workspace, challenger: Challenger, held: ContestHeld) -> Verdict:
    """Carry the gate's decision into the registry; safe to repeat after a kill."""
    registry, version = workspace.registry, challenger.version
    if held.decision != "promote":
        registry.keep(
            version, verdict=held.decision, reason=held.reason, evidence=held.contest or {}
        )
        return Verdict(
            decision=held.decision, reason=held.reason, model_version=version, live_since=None
        )
    settle = registry.wait if workspace.config.promote.approval == "manual" else registry.promote
    settled = settle(
        version, compared_with=held.compared_with, reason=held.reason, evidence=held.contest or {}
    )
    decision = "promote" if settled.moved else "keep"
    return Verdict(
        decision="waiting for approval" if settled.waiting else decision,
        reason=held.reason if settled.moved else settled.reason,
        model_version=version,
        live_since=settled.live_since,
    )


def _event(verdict: Verdict) -> str:
    if verdict.decision == "waiting for approval":
        return "waiting"
    return "promoted" if verdict.live_since else "kept"
