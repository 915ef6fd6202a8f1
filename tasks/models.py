"""Which model a stage may use, by what it has learned from: nothing is judged on its own past."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import zone
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.hybrid import HybridRanker
    from tasks.registry.version import ModelVersion

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Incumbent:
    """The model that a day is scored with."""

    version: str | None
    """None is the zero-shot model."""

    @property
    def name(self) -> str:
        """`v3` or `zero-shot`."""
        return f"v{self.version}" if self.version else ZERO_SHOT


def incumbent_before(workspace: Workspace, moment: datetime) -> Incumbent:
    """The champion, or the latest one before it that saw nothing at or after `moment`."""
    live = workspace.registry.champion()
    if live is None:
        return Incumbent(None)
    if learned_before(live, moment):
        return Incumbent(live.version)
    promoted = [entry.model_version for entry in workspace.journal.entries(event="promoted")]
    for version in reversed(promoted):
        if version and learned_before(workspace.registry.version(version), moment):
            return Incumbent(version)
    return Incumbent(None)


def overtaken_by(workspace: Workspace, day: date) -> str | None:
    """The champion, if it has learned from days after `day`: what it learns now would be older."""
    live = workspace.registry.champion()
    next_day = day_start(workspace, day + timedelta(days=1))
    return f"v{live.version}" if live and not learned_before(live, next_day) else None


def learned_before(version: "ModelVersion", moment: datetime) -> bool:
    """Whether everything that `version` was trained on happened before `moment`."""
    return version.trained_through is not None and version.trained_through < moment


def day_start(workspace: Workspace, day: date) -> datetime:
    """When `day` begins in the source's time zone, in UTC."""
    return datetime.combine(day, time(), zone(workspace.config)).astimezone(UTC)


def load(workspace: Workspace, version: str | None) -> "HybridRanker":
    """The ranker of a registered version, or the zero-shot one."""
    compute = workspace.config.compute
    if version is None:
        from tasks.recommender.hybrid import zero_shot

        return zero_shot(
            workspace.config.finetune.base, device=compute.device, precision=compute.precision
        )
    return load_folder(workspace, workspace.registry.download(version))


def load_folder(workspace: Workspace, folder: Path) -> "HybridRanker":
    """The ranker saved in `folder`, on the configured device."""
    from tasks.recommender.store import load_ranker

    compute = workspace.config.compute
    return load_ranker(folder, device=compute.device, precision=compute.precision)
