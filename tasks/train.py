"""Stage: few-shot fine-tuning of a challenger."""

from dataclasses import asdict
from shutil import rmtree
from typing import TYPE_CHECKING

from tasks.references import Published, Trained
from tasks.stage import Clock, logger, stage
from tasks.training_rows import training_rows
from tasks.warm_start import load_start, started_from, words_of
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.selection import EpochRecord


@stage
def train(workspace: Workspace, published: Published) -> Trained:
    """Fine-tune from where the recipe starts, on recent shots and replay; save adapter and head."""
    from tasks.recommender.rankers.choose import finetune_ranker
    from tasks.recommender.shots import count_impressions
    from tasks.recommender.snapshot import save_statistics
    from tasks.recommender.store import save_ranker

    clock = Clock()
    settings = workspace.config.finetune
    started = started_from(workspace, published)
    if started is not None:
        logger.info("%s  finetune   starts from %s", published.day, words_of(started))
    start = load_start(workspace, started)
    rows = training_rows(workspace, published, start)
    tuned = finetune_ranker(
        start,
        rows.shots,
        rows.validation,
        rows.context,
        settings.recipe,
        unlabelled=rows.unlabelled,
        progress=lambda epoch: _tell(published, epoch),
    )
    folder = workspace.scratch / published.key("challenger").replace("/", "-")
    rmtree(folder, ignore_errors=True)
    save_ranker(tuned.ranker, folder)
    context = rows.context
    save_statistics(folder, context.item_hours, context.catalogue, as_of=rows.trained_through)
    trained = Trained(
        folder=str(folder),
        trained_from=rows.trained_from,
        trained_through=rows.trained_through,
        holdout_from=rows.holdout_from,
        summary={
            "shots": count_impressions(rows.shots),
            "rows": tuned.rows,
            "rows_per_second": round(tuned.rows_per_second, 1),
            "seconds": round(tuned.seconds, 3),
            "epochs": [asdict(epoch) for epoch in tuned.epochs],
            "kept": tuned.kept,
            "validation_auc": tuned.validation_auc,
            "notes": list(tuned.notes),
            "recipe": settings.flat(),
            "warm_start": started and started.model_dump(mode="json", exclude={"seconds"}),
            "base": {
                "name": tuned.ranker.base.name,
                "sha256": tuned.ranker.base.sha256,
            },
        },
        seconds=clock.seconds,
    )
    for note in tuned.notes:
        logger.info("%s  finetune   %s", published.day, note)
    logger.info(
        "%s  finetune   %s shots, %s rows/s, kept %s",
        published.day,
        f"{trained.summary['shots']:,}",
        f"{tuned.rows_per_second:,.0f}",
        tuned.kept,
    )
    return trained


def _tell(published: Published, epoch: "EpochRecord") -> None:
    logger.debug(
        "%s  finetune   %s epoch %d: validation AUC %s",
        published.day,
        epoch.phase,
        epoch.epoch,
        epoch.validation_auc,
    )
