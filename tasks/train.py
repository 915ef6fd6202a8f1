"""Stage: few-shot fine-tuning of a challenger."""

from dataclasses import asdict
from datetime import datetime
from shutil import rmtree
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.config import Finetune
from tasks.context import day_rows, published_context
from tasks.models import day_start, load
from tasks.references import Published, Trained
from tasks.stage import Clock, logger, stage
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.recipe import Recipe
    from tasks.recommender.selection import EpochRecord
    from tasks.recommender.shots import Split


@stage
def train(workspace: Workspace, published: Published) -> Trained:
    """Fine-tune from the zero-shot score on recent shots and replay; save adapter and head."""
    from tasks.recommender.finetune import finetune
    from tasks.recommender.shots import count_impressions, select_shots
    from tasks.recommender.snapshot import save_statistics
    from tasks.recommender.store import save_ranker

    clock = Clock()
    settings = workspace.config.finetune
    recent, replay = _split(workspace, published)
    shots = select_shots(
        recent.shots,
        replay,
        shots=settings.shots,
        replay_share=settings.replay_share,
        seed=settings.seed,
    )
    seen = pa.concat_tables([shots, recent.validation])
    context = published_context(workspace, seen, published, days=settings.window_days)
    tuned = finetune(
        load(workspace, None),
        shots,
        recent.validation,
        context,
        _recipe(settings),
        progress=lambda epoch: _tell(published, epoch),
    )
    folder = workspace.scratch / published.key("challenger").replace("/", "-")
    rmtree(folder, ignore_errors=True)
    save_ranker(tuned.ranker, folder)
    save_statistics(folder, context.item_hours, context.catalogue, as_of=_latest(seen))
    trained = Trained(
        folder=str(folder),
        trained_from=_earliest(seen),
        trained_through=_latest(seen),
        holdout_from=_earliest(recent.holdout),
        summary={
            "shots": count_impressions(shots),
            "rows": tuned.rows,
            "rows_per_second": round(tuned.rows_per_second, 1),
            "seconds": round(tuned.seconds, 3),
            "epochs": [asdict(epoch) for epoch in tuned.epochs],
            "kept": tuned.kept,
            "validation_auc": tuned.validation_auc,
            "recipe": settings.model_dump(mode="json"),
            "base": {
                "name": tuned.ranker.encoder.base.name,
                "sha256": tuned.ranker.encoder.base.sha256,
            },
        },
        seconds=clock.seconds,
    )
    logger.info(
        "%s  finetune   %s shots, %s rows/s, kept %s",
        published.day,
        f"{trained.summary['shots']:,}",
        f"{tuned.rows_per_second:,.0f}",
        tuned.kept,
    )
    return trained


def _split(workspace: Workspace, published: Published) -> "tuple[Split, pa.Table]":
    """The day cut into shots, validation and holdout by time, and the window's days before it."""
    from tasks.recommender.shots import split_by_time

    settings = workspace.config.finetune
    rows = day_rows(workspace, published, days=settings.window_days)
    today = pc.greater_equal(
        rows["event_time"], pa.scalar(day_start(workspace, published.day), rows["event_time"].type)
    )
    recent = split_by_time(
        rows.filter(today),
        validation_share=settings.validation_share,
        holdout_share=workspace.config.promote.holdout_share,
    )
    return recent, rows.filter(pc.invert(today))


def _recipe(settings: Finetune) -> "Recipe":
    from tasks.recommender.recipe import Recipe

    return Recipe(
        head_epochs=settings.head_epochs,
        adapter_epochs=settings.adapter_epochs,
        seed=settings.seed,
    )


def _tell(published: Published, epoch: "EpochRecord") -> None:
    logger.debug(
        "%s  finetune   %s epoch %d: validation AUC %s",
        published.day,
        epoch.phase,
        epoch.epoch,
        epoch.validation_auc,
    )


def _earliest(rows: pa.Table) -> datetime:
    return pc.min(rows["event_time"]).as_py()


def _latest(rows: pa.Table) -> datetime:
    return pc.max(rows["event_time"]).as_py()
