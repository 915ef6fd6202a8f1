"""Impressions of long ago, on which a challenger must not be worse than the champion."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.context import day_rows, scoring_context
from tasks.references import Published
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.evaluation.limits import ForgettingLimits
    from tasks.recommender.protocol import Ranker

MOST_DAYS = 60
"""Days that are looked through, back from the window's end, for as many impressions as are asked for."""


def archive_evidence(
    workspace: Workspace,
    published: Published,
    champion: "Ranker",
    challenger: "Ranker",
    limits: "ForgettingLimits",
) -> pa.Table:
    """EVIDENCE of both models on the newest impressions that are old enough; empty where there are none."""
    from tasks.evaluation.evidence import EVIDENCE, collect
    from tasks.recommender.score import score

    found, missing = [EVIDENCE.empty_table()], limits.impressions
    last = published.day - timedelta(days=limits.days_ago)
    for day in (last - timedelta(days=back) for back in range(MOST_DAYS)):
        if missing <= 0:
            break
        rows = day_rows(workspace, published.model_copy(update={"day": day}))
        rows = _newest(rows, missing)
        if not rows.num_rows:
            continue
        versions = (published.interactions, published.items, published.item_hours)
        context = scoring_context(workspace, rows, day, day, versions)
        old, new = (score(ranker, rows, context) for ranker in (champion, challenger))
        evidence = collect(old, new, rows, {}, {}, day)
        missing -= evidence.num_rows
        found.append(evidence)
    return pa.concat_tables(found)


def _newest(rows: pa.Table, impressions: int) -> pa.Table:
    """The whole impressions that began last; rows are in the order of time."""
    ids = rows["impression_id"]
    began = pc.unique(ids)  # in the order in which they appear
    kept = began.slice(max(0, len(began) - impressions))
    return rows.filter(pc.is_in(ids, value_set=kept))
