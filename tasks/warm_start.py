"""Which model a training begins with: the zero-shot score, or a version that `warm_start` names.

Time is kept honest across pipelines: a start has learned from nothing at or after the day.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.config_finetune import Start
from tasks.errors import ModelError
from tasks.memory import remembered
from tasks.models import day_start, incumbent_before, learned_before, load, name_of
from tasks.references import Published, Started
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.protocol import Ranker


def started_from(workspace: Workspace, published: Published) -> Started | None:
    """What the day's training begins with, the same for every repeat; None without a `warm_start`.

    Raises:
        ModelError: the version that `warm_start` names learned from the day itself, or later.
    """
    wanted = workspace.config.finetune.start
    if wanted is None:
        return None
    return remembered(
        workspace,
        published,
        "started",
        Started,
        lambda: choose_start(workspace, published, wanted),
        reason=lambda started: f"training starts from {words_of(started)}",
    )


def choose_start(workspace: Workspace, published: Published, wanted: Start) -> Started:
    """The version that `wanted` means on that day, as the registry stands now."""
    pipeline = _pipeline_of(workspace, wanted)
    owner = _owner(workspace, pipeline)
    moment = day_start(workspace, published.day)
    version = wanted.version or incumbent_before(owner, moment)
    if version is None:
        return Started(pipeline=pipeline, version=None, sha256=None)
    model = owner.registry.version(version)
    if not learned_before(model, moment):
        raise ModelError(
            f"finetune.warm_start {pipeline}@v{version} has learned from rows through "
            f"{model.trained_through}, and training on {published.day} may start from nothing that "
            f"knows that day. Name an earlier version, or {pipeline}@champion: it takes the latest "
            "that fits."
        )
    return Started(pipeline=pipeline, version=version, sha256=model.tags["sha256"])


def load_start(workspace: Workspace, started: Started | None) -> "Ranker":
    """The ranker to begin with, on the configured device.

    Raises:
        ModelError: it is of another kind, or on another base, than the pipeline's own recipe.
    """
    if started is None or started.version is None:
        return load(workspace, None)
    from tasks.recommender.base import load_base
    from tasks.recommender.store import load_ranker, saved_kind

    settings, compute = workspace.config.finetune, workspace.config.compute
    folder = _owner(workspace, started.pipeline).registry.download(started.version)
    kind = saved_kind(folder)
    if kind != settings.ranker.kind:
        raise ModelError(_misfit(started, f"a {kind} ranker", f"a {settings.ranker.kind} one"))
    ranker = load_ranker(folder, device=compute.device, precision=compute.precision)
    base = ranker.base
    # Another name may be another folder of the same weights.
    if base.name != settings.base and base.sha256 != load_base(settings.base).sha256:
        raise ModelError(_misfit(started, f"on {base.name}", f"on {settings.base}"))
    return ranker


def words_of(started: Started) -> str:
    """Such as `mind v7`."""
    if started.version is None:
        return f"zero-shot: {started.pipeline} had no champion that knew nothing of the day"
    return f"{started.pipeline} {name_of(started.version)}"


def _pipeline_of(workspace: Workspace, wanted: Start) -> str:
    """Whose version is meant; in a replay, the pipeline's own champion is the replay's."""
    own = workspace.replay.pipeline if workspace.replay else workspace.name
    if wanted.pipeline is None or (wanted.pipeline == own and wanted.version is None):
        return workspace.name
    return wanted.pipeline


def _owner(workspace: Workspace, pipeline: str) -> Workspace:
    """The workspace whose registry and journal know the version."""
    return (
        workspace if pipeline == workspace.name else replace(workspace, name=pipeline, replay=None)
    )


def _misfit(started: Started, found: str, wanted: str) -> str:
    return (
        f"finetune.warm_start is {words_of(started)}, {found}, and this pipeline trains {wanted}. "
        "Set finetune.base and finetune.ranker to what that version has, or remove warm_start."
    )
