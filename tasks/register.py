"""Stage: the challenger becomes a version in the registry."""

import json
from importlib.metadata import version as installed_version
from pathlib import Path
from shutil import rmtree
from typing import Any

from tasks.memory import remembered
from tasks.references import Challenger, Published, Trained, Trigger
from tasks.registry.folder import MAX_BYTES
from tasks.stage import logger, stage
from tasks.workspace import Workspace


@stage
def register(
    workspace: Workspace, published: Published, trained: Trained, trigger: Trigger
) -> Challenger:
    """Log adapter, head and config as one version; a repeat finds the version it made before."""
    challenger = remembered(
        workspace,
        published,
        "trained",
        Challenger,
        lambda: _register(workspace, published, trained, trigger),
        reason=lambda made: f"v{made.version}: {made.summary['kept']}",
        model_version=lambda made: made.version,
    )
    rmtree(trained.folder, ignore_errors=True)
    logger.info("%s  register   v%s", published.day, challenger.version)
    return challenger


def registered(workspace: Workspace, published: Published) -> Challenger | None:
    """The challenger of this run of the day, if an earlier attempt came that far."""
    entry = workspace.journal.find(published.key("trained"))
    return Challenger.model_validate(entry.evidence) if entry else None


def _register(
    workspace: Workspace, published: Published, trained: Trained, trigger: Trigger
) -> Challenger:
    summary = trained.summary
    made = workspace.registry.register(
        Path(trained.folder),
        fingerprint=f"{workspace.name}/{published.key('trained')}",
        loader_module="tasks.recommender.pyfunc",
        max_bytes=None if holds_layers(Path(trained.folder)) else MAX_BYTES,
        tags={
            "day": str(published.day),
            "trained_from": trained.trained_from.isoformat(),
            "trained_through": trained.trained_through.isoformat(),
            "data_versions": json.dumps(data_versions(published)),
            "trigger": "; ".join(trigger.reasons),
            "code_version": installed_version("dayspring"),
            **_lineage(summary),
        },
        params=workspace.config.finetune.flat(),
        metrics={
            name: summary[name]
            for name in ("seconds", "rows_per_second", "validation_auc")
            if summary[name] is not None
        },
    )
    return Challenger(
        version=made.version,
        train_seconds=trained.seconds,
        trained_from=trained.trained_from,
        trained_through=trained.trained_through,
        holdout_from=trained.holdout_from,
        summary=summary,
    )


def holds_layers(ranker: Path) -> bool:
    """Whether a saved ranker's adapter is whole layers of the network: megabytes, and meant."""
    adapter = json.loads((ranker / "ranker.json").read_text()).get("adapter") or {}
    return adapter.get("method") in ("full", "top_layers")


def _lineage(summary: dict[str, Any]) -> dict[str, str]:
    from tasks.registry.version import WARM_START

    started = summary["warm_start"]
    return {WARM_START: json.dumps(started)} if started else {}


def data_versions(published: Published) -> dict[str, int]:
    """The Delta versions of the tables as of the day's publication."""
    return {
        "interactions": published.interactions,
        "items": published.items,
        "item_hours": published.item_hours,
    }
