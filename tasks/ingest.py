"""Stage: the day's logs and catalogue, read and sorted out; nothing of the day is public yet."""

from datetime import date
from shutil import rmtree

from tasks.references import Staged
from tasks.sources import combined, source_of
from tasks.stage import Clock, logger, stage
from tasks.workspace import Workspace


@stage
def read_ahead(workspace: Workspace, day: date, memory_gib: float) -> None:
    """Stage the logs of `day` before its turn; its `ingest` then only compares and publishes.

    Args:
        memory_gib: this reading's share of the run's memory.
    """
    from tasks.interactions.stage import stage_day

    source = source_of(workspace.config.source)
    stage_day(source, day, staging=workspace.staging, lake=None, memory_gib=memory_gib)


@stage
def ingest(workspace: Workspace, day: date) -> Staged:
    """Merge the catalogue and stage the logs of `day`; a complete staging is used again.

    Raises:
        SourceError: the logs or the catalogue are missing, or cannot be read at all.
    """
    from tasks.interactions.items import publish_items, stage_items
    from tasks.interactions.stage import stage_day

    clock = Clock()
    source, memory_gib = source_of(workspace.config.source), workspace.config.compute.memory_gib
    catalogue = stage_items(source, day, staging=workspace.staging, memory_gib=memory_gib)
    items = publish_items(workspace.lake, catalogue, memory_gib=memory_gib)
    rmtree(catalogue.folder, ignore_errors=True)
    staged = stage_day(
        source, day, staging=workspace.staging, lake=workspace.lake, memory_gib=memory_gib
    )
    if items.merged:
        logger.info(
            "%s  catalogue  %s rows read, %s items, %s quarantined",
            day,
            f"{items.rows_read:,}",
            f"{items.published:,}",
            f"{items.quarantined:,}",
        )
    logger.info(
        "%s  ingest     %s rows read = %s to publish + %s quarantined + %s duplicates",
        day,
        *(f"{n:,}" for n in (staged.rows_read, staged.published, staged.quarantined)),
        f"{staged.duplicates:,}",
    )
    return Staged(
        day=day,
        folder=str(staged.folder),
        files=[str(path) for path in staged.paths()],
        source_digest=combined(staged.digest, catalogue.digest),
        rows_read=staged.rows_read,
        quarantined=staged.quarantined,
        reasons=dict(staged.quarantine_reasons),
        seconds=clock.seconds,
    )
