"""Stage: the real history and a replay of it, side by side: which one ranked better, and at what cost."""

from collections.abc import Sequence
from typing import Any

from tasks.replay import INHERITED, StoredDay
from tasks.report.words import went_live
from tasks.stage import logger, stage
from tasks.workspace import Workspace

Record = dict[str, Any]

CONFIDENCE = 0.9
"""Of the interval of the daily difference."""


@stage
def compare_histories(
    real: Workspace, workspace: Workspace, days: list[StoredDay], overrides: list[str]
) -> Record:
    """The comparison as one JSON document, also written as a page beside the replay's days."""
    from tasks.evaluation.histories import paired_difference, verdict_of
    from tasks.report.comparison import render_comparison

    records = [_replayed(workspace, day) for day in days]
    pairs = [(day.record, record) for day, record in zip(days, records, strict=True)]
    difference = paired_difference(
        [before["champion_auc"] if before else None for before, _ in pairs],
        [record["champion_auc"] for record in records],
        confidence=CONFIDENCE,
    )
    assert workspace.replay is not None
    page = workspace.reports / "comparison.html"
    document = {
        "pipeline": real.name,
        "replay": workspace.replay.name,
        "set": list(overrides),
        "registered_model": workspace.registry.name,
        "days": [
            _side_by_side(day, before, record)
            for day, (before, record) in zip(days, pairs, strict=True)
        ],
        "real": _cost(real, [before for before, _ in pairs if before]),
        "replayed": _cost(workspace, records),
        "difference": difference.to_json(),
        "verdict": verdict_of(difference),
        "page": str(page),
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_comparison(document), encoding="utf-8")
    logger.info("replay %s  %s", workspace.replay.name, document["verdict"])
    return document


def _replayed(workspace: Workspace, day: StoredDay) -> Record:
    entry = workspace.journal.find(day.published.key("closed"))
    assert entry is not None, "a replay is compared when all its days are closed"
    record: Record = entry.evidence["record"]
    return record


def _side_by_side(day: StoredDay, before: Record | None, record: Record) -> Record:
    return {
        "day": str(day.published.day),
        "zero_shot_auc": record["zero_shot_auc"],
        "real_champion": before["champion"] if before else None,
        "real_auc": before["champion_auc"] if before else None,
        "real_verdict": before["verdict"] if before else "ingested only",
        "replay_champion": record["champion"],
        "replay_auc": record["champion_auc"],
        "replay_verdict": record["verdict"],
        "replay_promoted": went_live(record),
    }


def _cost(workspace: Workspace, records: Sequence[Record]) -> Record:
    """What a history spent on the days, and its mean AUC over those that rank anything."""
    known = [record["champion_auc"] for record in records if record["champion_auc"] is not None]
    trained = {record["model_version"] for record in records if record["model_version"]}
    went_live = {
        move.model_version
        for move in workspace.journal.moves()
        if move.event in ("promoted", "approved", "forced") and move.key != INHERITED
    }
    return {
        "days": len(records),
        "mean_auc": sum(known) / len(known) if known else None,
        "retrainings": len(trained),
        "promotions": len(trained & went_live),
        "train_seconds": round(sum(r["seconds"].get("finetune", 0.0) for r in records), 3),
    }
