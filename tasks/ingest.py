"""Stage: the day's logs and catalogue, read and sorted out; nothing of the day is public yet."""

from datetime import date
from shutil import rmtree

from tasks.errors import LakeError
from tasks.references import Staged
from tasks.sources import combined, source_of
from tasks.stage import Clock, logger, stage, tell_refused
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
        LakeError: a table has lost what the journal says was published.
    """
    from tasks.interactions.items import publish_items, stage_items
    from tasks.interactions.stage import stage_day

    clock = Clock()
    _check_lake(workspace)
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
        tell_refused(day, items.quarantine_reasons, workspace.lake.uri("quarantine"))
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


def _check_lake(workspace: Workspace) -> None:
    """See that the tables are as new as the journal says: on top of less nothing may be published."""
    published = workspace.journal.entries(event="published")
    if not published:
        return
    newest = published[-1].evidence
    for table in ("interactions", "items", "item_hours"):
        there = workspace.lake.version(table)
        if there is None or there < newest[table]:
            state = "is not there" if there is None else f"is at version {there}"
            raise LakeError(
                f"{workspace.lake.uri(table)} {state}, but {newest['day']} was published at its "
                f"version {newest[table]}: files of the table were lost, or an old copy was put back. "
                "Restore the lake from a backup, then run the day again."
            )
