"""Versions in a workspace's registry, without training: what decisions about them need."""

from datetime import date
from pathlib import Path

from tasks.registry.journal import LIVE_SINCE, Outcome
from tasks.registry.version import Promotion
from tasks.workspace import Workspace, open_workspace

CONTEST = {
    "champion_auc": 0.671,
    "challenger_auc": 0.683,
    "gain": 0.012,
    "low": 0.004,
    "high": 0.02,
    "confidence": 0.9,
}


def register(workspace: Workspace, fingerprint: str) -> str:
    """A new version; returns its number."""
    saved = workspace.home / "saved"
    saved.mkdir(parents=True, exist_ok=True)
    (saved / "head.json").write_text("{}")
    return workspace.registry.register(
        saved,
        fingerprint=fingerprint,
        loader_module="tasks.recommender.pyfunc",
        tags={"trained_through": "2026-03-01T00:00:00+00:00", "trigger": "no champion yet"},
        params={"shots": 64},
        metrics={"validation_auc": 0.67},
    ).version


def crown(workspace: Workspace, version: str, *, over: str | None) -> Promotion:
    """Promote it, as the daily flow does, and record that in the journal."""
    moved = workspace.registry.promote(
        version, compared_with=over, reason="it won", evidence=CONTEST
    )
    if moved.live_since:
        outcome = Outcome(
            moved.reason,
            day=date(2026, 3, 1),
            model_version=version,
            evidence={LIVE_SINCE: moved.live_since.isoformat()},
        )
        workspace.journal.once(f"day/{version}", "promoted", lambda: outcome)
    return moved


def let_wait(workspace: Workspace, version: str, *, over: str | None) -> Promotion:
    """Let it wait, as the daily flow does where approval is manual."""
    return workspace.registry.wait(version, compared_with=over, reason="it won", evidence=CONTEST)


def reopened(workspace: Workspace, config: Path) -> Workspace:
    """The same workspace as another process sees it."""
    return open_workspace(config, workspace.name)
