"""Stage: champion and challenger on the same impressions, which neither has seen."""

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from tasks.context import day_rows, published_context
from tasks.memory import remembered
from tasks.models import incumbent_before, load, name_of
from tasks.references import Challenger, ContestHeld, Published, Shadow
from tasks.shot_evidence import examination_of
from tasks.stage import logger, stage
from tasks.training_rows import split_window
from tasks.weighing import Rows, Weighed, columns_of_groups, weigh
from tasks.workspace import Workspace


@stage
def evaluate(workspace: Workspace, published: Published, challenger: Challenger) -> ContestHeld:
    """Judge the challenger on the day's latest impressions by the gate's rule, and show its slices."""
    held = remembered(
        workspace,
        published,
        "judged",
        ContestHeld,
        lambda: _judge(workspace, published, challenger),
        reason=lambda found: found.reason,
        model_version=lambda _: challenger.version,
    )
    logger.info("%s  evaluate   %s: %s", published.day, held.decision, held.reason)
    return held


def _judge(workspace: Workspace, published: Published, challenger: Challenger) -> ContestHeld:
    incumbent = incumbent_before(workspace, challenger.holdout_from)
    live = workspace.registry.champion()
    if live is not None and live.version != incumbent:
        return ContestHeld(
            compared_with=incumbent,
            decision="not enough evidence",
            reason=f"{name_of(live.version)}, the champion, has learned from the holdout's impressions, "
            "so they cannot judge it",
            contest=None,
        )
    day = day_rows(workspace, published, also=columns_of_groups(workspace))
    holdout = _impressions_since(day, challenger.holdout_from)
    rows = rows_to_judge(workspace, published, holdout, incumbent)
    found = weigh(workspace, rows, first_look(workspace, published, challenger.version, incumbent))
    return ContestHeld(
        compared_with=incumbent,
        decision=found.decision,
        reason=found.reason,
        contest=found.contest and {**found.contest, **_shown(workspace, rows, found)},
    )


def first_look(
    workspace: Workspace, published: Published, version: str, champion: str | None
) -> Shadow:
    """How a challenger of this day is judged, now and on the days in shadow that may follow."""
    from tasks.evaluation.bar import challenger_level

    bar = workspace.config.promote
    return Shadow(
        version=version,
        begun=published.day,
        until=published.day + timedelta(days=bar.shadow_days),
        compared_with=champion,
        level=challenger_level(bar.false_promotions_a_year),
        looks=bar.looks,
    )


def rows_to_judge(
    workspace: Workspace, published: Published, rows: pa.Table, champion: str | None
) -> Rows:
    """The rows with the champion's answers to them."""
    from tasks.recommender.score import score

    context = published_context(workspace, rows, published)
    ranker = load(workspace, champion)
    examined = None
    if workspace.config.finetune.propensity:
        # as the rows before the holdout tell how much a position is looked at
        recent, replay = split_window(workspace, published)
        known = examination_of(workspace, published, [recent.shots, replay], ranker)
        examined = known.at(rows["position"])
    scores = score(ranker, rows, context)
    return Rows(published, rows, context, ranker, scores, examined)


def _shown(workspace: Workspace, rows: Rows, found: Weighed) -> dict[str, Any]:
    """What a page shows beside the verdict: both models' curves; slices, where no rule is about them."""
    from tasks.evaluation.curves import curves
    from tasks.evaluation.gain_by_slice import gain_by_slice
    from tasks.recommender.slices import slices_of

    assert found.contest is not None
    table = rows.table
    sides = {"champion": rows.champion_scores, "challenger": found.scores}
    shown = {"curves": {side: curves(scores, table["label"]) for side, scores in sides.items()}}
    if workspace.config.promote.guardrails.slices:
        return shown
    slices = gain_by_slice(
        rows.champion_scores,
        found.scores,
        table["label"],
        table["impression_id"],
        table["user_id"],
        slices_of(table, rows.context),
        confidence=found.contest["confidence"],
        seed=workspace.config.finetune.seed,
    )
    return {**shown, "slices": [each.to_json() for each in slices]}


def _impressions_since(rows: pa.Table, moment: datetime) -> pa.Table:
    """The whole impressions that began at `moment` or later: those that training left out."""
    from tasks.recommender.shots import impression_times

    slate, began = impression_times(rows)
    microseconds = pa.scalar(moment, rows["event_time"].type).cast(pa.int64()).as_py()
    return rows.filter(pa.array(began[slate] >= microseconds))
