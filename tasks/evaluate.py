"""Stage: champion and challenger on the same impressions, which neither has seen."""

from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.context import day_rows, published_context
from tasks.errors import EvaluationError
from tasks.memory import remembered
from tasks.models import incumbent_before, load, name_of
from tasks.references import Challenger, ContestHeld, Published
from tasks.shot_evidence import examination_of
from tasks.stage import logger, stage
from tasks.training_rows import split_window
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.evaluation.slates import Floats
    from tasks.recommender.protocol import Ranker


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
    from tasks.evaluation.bar import Bar
    from tasks.evaluation.contest import hold_contest
    from tasks.evaluation.curves import curves
    from tasks.evaluation.gain_by_slice import gain_by_slice
    from tasks.evaluation.gate import decide
    from tasks.recommender.score import score
    from tasks.recommender.slices import slices_of

    bar = workspace.config.promote
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
    holdout = _impressions_since(day_rows(workspace, published), challenger.holdout_from)
    context = published_context(workspace, holdout, published)
    champion = load(workspace, incumbent)
    old = score(champion, holdout, context)
    new = score(load(workspace, challenger.version), holdout, context)
    judged = (old, new, holdout["label"], holdout["impression_id"], holdout["user_id"])
    seed = workspace.config.finetune.seed
    examined = None
    if workspace.config.finetune.propensity:
        examined = _examined(workspace, published, holdout, champion)
    try:
        contest = hold_contest(*judged, confidence=bar.confidence, seed=seed, examined=examined)
    except EvaluationError as error:
        return ContestHeld(
            compared_with=incumbent,
            decision="not enough evidence",
            reason=f"the contest is undefined: {error}",
            contest=None,
        )
    level = (1 - bar.confidence) / 2
    verdict = decide(contest, Bar(bar.min_gain, level, bar.min_impressions, looks=1))
    slices = gain_by_slice(
        *judged, slices_of(holdout, context), confidence=bar.confidence, seed=seed
    )
    drawn = {
        "champion": curves(old, holdout["label"]),
        "challenger": curves(new, holdout["label"]),
    }
    return ContestHeld(
        compared_with=incumbent,
        decision=verdict.decision,
        reason=verdict.reason,
        contest={
            **contest.to_json(),
            "min_gain": bar.min_gain,
            "slices": [each.to_json() for each in slices],
            "curves": drawn,
        },
    )


def _examined(
    workspace: Workspace, published: Published, holdout: pa.Table, champion: "Ranker"
) -> "Floats":
    """(N,) how much the positions of the holdout's rows are looked at, as the rows before it tell."""
    recent, replay = split_window(workspace, published)
    seen = [recent.shots, replay]
    return examination_of(workspace, published, seen, champion).at(holdout["position"])


def _impressions_since(rows: pa.Table, moment: datetime) -> pa.Table:
    """The whole impressions that began at `moment` or later: those that training left out."""
    from tasks.recommender.shots import impression_times

    slate, began = impression_times(rows)
    microseconds = pa.scalar(moment, rows["event_time"].type).cast(pa.int64()).as_py()
    return rows.filter(pa.array(began[slate] >= microseconds))
