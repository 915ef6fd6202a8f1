"""What a challenger of one day learns from: shots, validation, and what it may know beside them.

The holdout is cut off first and by time; of it, nothing but the moment at which it begins is kept.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.context import day_rows, published_context
from tasks.models import day_start
from tasks.references import Published
from tasks.shot_evidence import debiased, examination_of, shot_evidence
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.context import Context
    from tasks.recommender.protocol import Ranker
    from tasks.recommender.shots import Split


@dataclass(frozen=True)
class TrainingRows:
    """Shots and validation of a day."""

    shots: pa.Table
    validation: pa.Table
    unlabelled: pa.Table
    """The others that came before the validation, where `pseudo_labels` asks; else none."""
    context: "Context"
    holdout_from: datetime
    """Time of the first row on which the challenger may be judged."""

    @property
    def trained_from(self) -> datetime:
        """Time of the oldest row that is seen."""
        return min(_earliest(rows) for rows in self._seen if len(rows))

    @property
    def trained_through(self) -> datetime:
        """Time of the newest row that is seen."""
        return max(_latest(rows) for rows in self._seen if len(rows))

    @property
    def _seen(self) -> tuple[pa.Table, ...]:
        return self.shots, self.validation, self.unlabelled


def training_rows(workspace: Workspace, published: Published, start: "Ranker") -> TrainingRows:
    """The rows that `train` learns from on that day.

    Args:
        start: the ranker that training begins with, which some choices of shots ask.
    """
    from tasks.recommender.shots import select_shots

    settings = workspace.config.finetune
    recent, replay = split_window(workspace, published)
    shots = select_shots(
        recent.shots,
        replay,
        shots=settings.shots,
        replay_share=settings.replay_share,
        seed=settings.seed,
        selection=settings.selection,
        evidence=shot_evidence(workspace, published, recent.shots, replay, start),
    )
    validation, other = recent.validation, _not_drawn([recent.shots, replay], shots)
    if not settings.unlabelled.pseudo_labels:
        other = other.slice(0, 0)
    seen = pa.concat_tables([shots, validation, other])
    context = published_context(workspace, seen, published, days=settings.window_days)
    if settings.propensity:
        examination = examination_of(workspace, published, [recent.shots, replay], start)
        shots, validation = debiased(shots, examination), debiased(validation, examination)
    return TrainingRows(shots, validation, other, context, _earliest(recent.holdout))


def _not_drawn(rows: list[pa.Table], shots: pa.Table) -> pa.Table:
    """The rows of impressions of which no row is a shot."""
    everything, drawn = pa.concat_tables(rows), shots["impression_id"].combine_chunks()
    return everything.filter(pc.invert(pc.is_in(everything["impression_id"], drawn)))


def split_window(workspace: Workspace, published: Published) -> "tuple[Split, pa.Table]":
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


def _earliest(rows: pa.Table) -> datetime:
    return pc.min(rows["event_time"]).as_py()


def _latest(rows: pa.Table) -> datetime:
    return pc.max(rows["event_time"]).as_py()
