"""Publishing a staged day: exactly once, whatever is killed and however often it is repeated.

Two application transactions carry it: `day/<day>` counts the day's revisions, and
`day/<day>/<revision>` says which content holds that number. A repeat finds both at the same
number and changes nothing; other content takes the next number and replaces the day's files in
the same commit. The quarantine goes first: killed between the two commits, the repeat finds the
quarantine done, and publishes the interactions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import LakeError
from tasks.interactions.commit import commit, live_files, place_files
from tasks.interactions.homeless import Homeless, not_taken
from tasks.interactions.lake import ITEMS_RUN, PARTITIONS, SCHEMAS, Lake, reaching, retrying
from tasks.interactions.neighbours import Neighbours
from tasks.interactions.stage import check_accounting
from tasks.interactions.staged import StagedDay, StagedFile

if TYPE_CHECKING:
    from deltalake import DeltaTable

PUBLICATIONS = "publications"
"""Application transaction that counts the table's publications, whatever their day."""


@dataclass(frozen=True)
class Publication:
    """What a publish has made public, or found public already."""

    day: date
    revision: int
    """1 for the first content of the day, counting up with every correction."""
    superseded: int | None
    """The revision that this one replaced; models trained on it saw rows that are gone."""
    version: int
    """Of the table `interactions`."""
    rows_read: int
    published: int
    quarantined: int
    duplicates: int
    late: int
    quarantine_reasons: Mapping[str, int]
    days: tuple[date, ...]
    """The event days whose partitions hold the rows."""


def publish_day(lake: Lake, staged: StagedDay) -> Publication:
    """Make a staged day public, in one commit of `interactions`.

    Raises:
        LakeError: the accounting does not add up, or another day has meanwhile published events
            that this one was not compared with.
    """
    check_accounting(staged)
    with reaching(lake.root, "written"):
        homeless = retrying(lambda: _publish_quarantine(lake, staged))
        revision, version = retrying(lambda: _publish_interactions(lake, staged))
    reasons = Counter(staged.quarantine_reasons) + Counter(homeless.reasons)
    return Publication(
        day=staged.day,
        revision=revision,
        superseded=revision - 1 or None,
        version=version,
        rows_read=staged.rows_read + homeless.rows,
        published=staged.published,
        quarantined=staged.quarantined + homeless.rows,
        duplicates=staged.duplicates,
        late=staged.late,
        quarantine_reasons=dict(reasons),
        days=staged.days,
    )


def published_revision(lake: Lake, day: date) -> int | None:
    """The revision of `day` that is public; None where the day was never published."""
    table = lake.open("interactions")
    return None if table is None else table.transaction_version(f"day/{day}")


def _publish_quarantine(lake: Lake, staged: StagedDay) -> Homeless:
    """Publish the refused rows; returns those of no day that the day took, or took before."""
    table = lake.open("quarantine")
    homeless = not_taken(table, staged)
    files = (*staged.quarantine, *homeless.files)
    if table is None and not files:
        return homeless
    table = _table(lake, "quarantine")
    of_day = live_files(table, "day", staged.day)
    stale = [file for file in of_day if not file["partition.run"].startswith(ITEMS_RUN)]
    # Of two days that take them at once, the second commit conflicts, looks again, and takes none.
    taking = f"homeless/{staged.digest}"
    extra = {taking: staged.day.toordinal()} if homeless.files else {}
    told = not homeless.files or table.transaction_version(taking) is not None
    whole = sum(file["num_records"] for file in stale) == staged.quarantined + homeless.rows
    if not (_is_current(table, staged) and told and whole) and (files or stale):
        _replace(table, staged, staged.folder / "quarantine", files, stale, extra)
    return homeless


def _publish_interactions(lake: Lake, staged: StagedDay) -> tuple[int, int]:
    table = _table(lake, "interactions")
    if not _is_current(table, staged):
        if Neighbours.of(lake, staged.day).paths(staged.days) != staged.neighbours:
            raise LakeError(
                f"{staged.day} was staged before another day published rows of the same days. "
                "Run the day again: it is staged anew and compared with them."
            )
        stale = live_files(table, "source_day", staged.day)
        # One transaction for all days: of two neighbours that looked at the same moment, neither of
        # which saw the other, the second has to look again.
        turn = {PUBLICATIONS: (table.transaction_version(PUBLICATIONS) or 0) + 1}
        _replace(table, staged, staged.folder / "interactions", staged.interactions, stale, turn)
    return int(table.transaction_version(f"day/{staged.day}")), int(table.version())


def _table(lake: Lake, name: str) -> "DeltaTable":
    return lake.open_or_create(name, SCHEMAS[name], PARTITIONS[name])


def _is_current(table: "DeltaTable", staged: StagedDay) -> bool:
    newest = table.transaction_version(f"day/{staged.day}")
    return newest is not None and newest == table.transaction_version(
        f"day/{staged.day}/{staged.revision}"
    )


def _replace(
    table: "DeltaTable",
    staged: StagedDay,
    root: Path,
    files: Sequence[StagedFile],
    stale: Sequence[Mapping[str, object]],
    extra: Mapping[str, int],
) -> None:
    """Commit `files` as the day's next revision, in place of `stale`."""
    place_files(table, root, files)
    revision = (table.transaction_version(f"day/{staged.day}") or 0) + 1
    counts = {k: v for k, v in asdict(staged).items() if isinstance(v, int)}
    commit(
        table,
        files,
        stale,
        transactions={
            f"day/{staged.day}": revision,
            f"day/{staged.day}/{staged.revision}": revision,
            **extra,
        },
        metadata={"day": staged.day.isoformat(), "revision": revision, **counts},
    )
