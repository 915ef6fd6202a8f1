"""Which model a stage may use, by what it has learned from: nothing is judged on its own past."""

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from tasks.config import zone
from tasks.live import refuse_lost
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.protocol import Ranker
    from tasks.registry.version import ModelVersion


def name_of(version: str | None) -> str:
    """What people read: `v3`, or `zero-shot` where there is no version."""
    return f"v{version}" if version else "zero-shot"


def live_champion(workspace: Workspace) -> "ModelVersion | None":
    """The version that is live; None is the zero-shot model.

    Raises:
        RegistryError: the registry has lost the version that the journal says is live.
    """
    live = workspace.registry.champion()
    if live is None:
        refuse_lost(workspace)
    return live


def incumbent_before(workspace: Workspace, moment: datetime) -> str | None:
    """The champion, or the latest one before it that saw nothing at or after `moment`.

    None is the zero-shot model.
    """
    live = live_champion(workspace)
    if live is None:
        return None
    if learned_before(live, moment):
        return live.version
    pruned = pruned_versions(workspace)
    for version in reversed(workspace.journal.ascent()):
        if version not in pruned and learned_before(workspace.registry.version(version), moment):
            return version
    return None


def pruned_versions(workspace: Workspace) -> set[str]:
    """The versions that retention has taken away; the journal still tells of them."""
    entries = workspace.journal.entries(event="pruned")
    return {version for entry in entries for version in entry.evidence["versions"]}


def overtaken_by(workspace: Workspace, day: date) -> str | None:
    """The champion, if it has learned from days after `day`: what it learns now would be older."""
    live = live_champion(workspace)
    next_day = day_start(workspace, day + timedelta(days=1))
    return name_of(live.version) if live and not learned_before(live, next_day) else None


def learned_before(version: "ModelVersion", moment: datetime) -> bool:
    """Whether everything that `version` was trained on happened before `moment`."""
    return version.trained_through is not None and version.trained_through < moment


def day_start(workspace: Workspace, day: date) -> datetime:
    """When `day` begins in the source's time zone, in UTC."""
    return datetime.combine(day, time(), zone(workspace.config)).astimezone(UTC)


def load(workspace: Workspace, version: str | None) -> "Ranker":
    """The ranker of a registered version, or the zero-shot one, on the configured device."""
    from tasks.recommender.rankers.choose import zero_shot_ranker
    from tasks.recommender.store import load_ranker

    compute, settings = workspace.config.compute, workspace.config.finetune
    if version is None:
        return zero_shot_ranker(
            settings.ranker, settings.base, device=compute.device, precision=compute.precision
        )
    folder = workspace.registry.download(version)
    return load_ranker(folder, device=compute.device, precision=compute.precision)
