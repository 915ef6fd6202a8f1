"""Stage: the champion's prequential record, before anything trains on the day."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.context import day_rows, published_context
from tasks.errors import EvaluationError
from tasks.ledger import Before, replaced_model
from tasks.memory import remembered
from tasks.models import day_start, incumbent_before, load, name_of, overtaken_by
from tasks.references import ChampionRecord, Published, Replaced
from tasks.stage import logger, stage
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.evaluation.slates import Floats


@stage
def score_champion(workspace: Workspace, published: Published) -> ChampionRecord:
    """Score the champion and the zero-shot model on the whole day: what users got, and could have."""
    record = remembered(
        workspace,
        published,
        "scored",
        ChampionRecord,
        lambda: _score(workspace, published),
        reason=_words,
    )
    logger.info("%s  champion   %s", published.day, _words(record))
    return record


def _score(workspace: Workspace, published: Published) -> ChampionRecord:
    from tasks.drift.predictions import summarise
    from tasks.recommender.score import score

    incumbent = incumbent_before(workspace, day_start(workspace, published.day))
    before = replaced_model(workspace, published, incumbent)
    rows = day_rows(workspace, published)
    context = published_context(workspace, rows, published)
    versions = {None, incumbent} | ({before.version} if before else set())
    scores = {version: score(load(workspace, version), rows, context) for version in versions}
    metrics = {v: _measure(published, scores[v], rows) for v in {None, incumbent}}
    return ChampionRecord(
        champion=name_of(incumbent),
        version=incumbent,
        champion_metrics=metrics[incumbent],
        zero_shot_metrics=metrics[None],
        overtaken_by=overtaken_by(workspace, published.day),
        champion_error=_error(scores[incumbent], rows),
        replaced=_replaced(before, scores, incumbent, rows) if before else None,
        predictions=summarise(scores[incumbent], rows["label"]).to_json(),
    )


def _measure(published: Published, scores: "Floats", rows: pa.Table) -> dict[str, Any] | None:
    from tasks.evaluation.metrics import measure

    try:
        return measure(scores, rows["label"], rows["impression_id"]).to_json()
    except EvaluationError as error:
        # A day on which nothing was clicked says nothing about ranking; it is still a day.
        logger.warning("%s  champion   %s", published.day, error)
        return None


def _error(scores: "Floats", rows: pa.Table) -> float | None:
    """Standard error of the impression AUC; None where nothing ranks, or one user came alone."""
    from tasks.evaluation.uncertainty import estimate_auc

    try:
        return estimate_auc(scores, *_judges(rows)).standard_error
    except EvaluationError:
        return None


def _replaced(
    before: Before, scores: "Mapping[str | None, Floats]", incumbent: str | None, rows: pa.Table
) -> Replaced | None:
    """What the champion ranks better than the model before it; None as for `_error`."""
    from tasks.evaluation.uncertainty import estimate_gain

    try:
        gain = estimate_gain(scores[incumbent], scores[before.version], *_judges(rows))
    except EvaluationError:
        return None
    return Replaced(version=before.version, gain=gain.value, gain_error=gain.standard_error)


def _judges(rows: pa.Table) -> tuple[pa.ChunkedArray, ...]:
    return rows["label"], rows["impression_id"], rows["user_id"]


def _words(record: ChampionRecord) -> str:
    if record.champion_metrics is None or record.zero_shot_metrics is None:
        return f"{record.champion}: no impression of the day ranks anything"
    return (
        f"{record.champion} {record.champion_metrics['impression_auc']:.4f}, "
        f"zero-shot {record.zero_shot_metrics['impression_auc']:.4f} impression AUC"
    )
