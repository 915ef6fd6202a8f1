"""What each impression said of a challenger and its champion, kept so that a contest has all its days.

Table `evidence`, partitioned by the day that it was judged on and the challenger's version. A day that
is judged again, as after a kill or a corrected file, replaces what it said before.
"""

from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.models import name_of
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Collection

TABLE = "evidence"


def keep_evidence(
    workspace: Workspace, day: date, challenger: str, champion: str | None, evidence: pa.Table
) -> None:
    """Store what `day` said of `challenger` against `champion`, in place of what it said before."""
    part: dict[str, date | str] = {"event_date": day, "challenger": challenger}
    known = {"champion": name_of(champion), **part}
    for name, value in known.items():
        evidence = evidence.append_column(name, pa.array([value] * evidence.num_rows))
    workspace.lake.replace_part(TABLE, evidence, part)


def evidence_of(
    workspace: Workspace, challenger: str, champion: str | None, *, days: tuple[date, date]
) -> pa.Table:
    """What was said of `challenger` against `champion` from the first to the last of `days`, as EVIDENCE.

    A day that is judged again must not see what later days said, and ends at itself.
    """
    from tasks.evaluation.evidence import EVIDENCE

    if workspace.lake.version(TABLE) is None:
        return EVIDENCE.empty_table()
    stored = workspace.lake.read(TABLE, days=days)
    chosen = pc.and_(
        pc.equal(stored["challenger"], challenger), pc.equal(stored["champion"], name_of(champion))
    )
    return stored.filter(chosen).select(EVIDENCE.names).cast(EVIDENCE)


def forget_evidence(workspace: Workspace, before: date, in_shadow: "Collection[str]") -> None:
    """Let the evidence go of days before `before`, but for challengers that are still judged by it."""
    workspace.lake.drop_before(TABLE, before, keep={"challenger": sorted(in_shadow)})
