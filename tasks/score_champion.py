"""Stage: the champion's prequential record, before anything trains on the day."""

from typing import Any

from tasks.context import day_rows, published_context
from tasks.errors import EvaluationError
from tasks.memory import remembered
from tasks.models import day_start, incumbent_before, load, name_of, overtaken_by
from tasks.references import ChampionRecord, Published
from tasks.stage import logger, stage
from tasks.workspace import Workspace


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
    from tasks.evaluation.metrics import measure
    from tasks.recommender.score import score

    incumbent = incumbent_before(workspace, day_start(workspace, published.day))
    rows = day_rows(workspace, published)
    context = published_context(workspace, rows, published)
    measured: dict[str | None, dict[str, Any] | None] = {}
    for version in {None, incumbent}:
        scores = score(load(workspace, version), rows, context)
        try:
            measured[version] = measure(scores, rows["label"], rows["impression_id"]).to_json()
        except EvaluationError as error:
            # A day on which nothing was clicked says nothing about ranking; it is still a day.
            logger.warning("%s  champion   %s", published.day, error)
            measured[version] = None
    return ChampionRecord(
        champion=name_of(incumbent),
        version=incumbent,
        champion_metrics=measured[incumbent],
        zero_shot_metrics=measured[None],
        overtaken_by=overtaken_by(workspace, published.day),
    )


def _words(record: ChampionRecord) -> str:
    if record.champion_metrics is None or record.zero_shot_metrics is None:
        return f"{record.champion}: no impression of the day ranks anything"
    return (
        f"{record.champion} {record.champion_metrics['impression_auc']:.4f}, "
        f"zero-shot {record.zero_shot_metrics['impression_auc']:.4f} impression AUC"
    )
