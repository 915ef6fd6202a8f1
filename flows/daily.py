"""One day: the main job."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow

from flows.failures import TELLING
from flows.hand_over import fine_tune
from flows.review import ask_for_review
from flows.scheduled import daily_run_name, scheduled_day, turn_seconds
from tasks.close_day import close_day
from tasks.decide_retrain import decide_retrain
from tasks.detect_drift import detect_drift
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.live import reconcile
from tasks.plan import completed_record, overtaken_record
from tasks.promote import promote
from tasks.prune import prune_weekly
from tasks.publish import publish
from tasks.references import Challenger, Published, Staged, Trigger, Validated, Verdict
from tasks.score_champion import score_champion
from tasks.shadow import judge_shadows
from tasks.stage import patiently
from tasks.validate import validate
from tasks.workspace import Workspace, open_workspace


@flow(name="daily", flow_run_name=daily_run_name, persist_result=False, **TELLING)
def daily(
    pipeline: str, day: date | None, config_file: Path, force: bool = False
) -> dict[str, Any]:
    """Adapt `pipeline` to `day`; the challenger goes live only if it beats the champion.

    Without `day`, it is the one before the run's scheduled time, and nothing is done if a later day
    is complete by now. Returns the day's record, the document that `--json` prints. A complete day
    with unchanged inputs is not run again unless `force`.
    """
    workspace = open_workspace(config_file, pipeline)
    chosen = day or scheduled_day(workspace)
    with workspace.alone(turn_seconds()):
        patiently(reconcile, workspace, continued=chosen)
        if not force and (record := patiently(completed_record, workspace, chosen)):
            return record
        if day is None and (record := patiently(overtaken_record, workspace, chosen)):
            return record
        record = _adapt(workspace, chosen, config_file, force)
        prune_weekly(workspace)
        return record


def _adapt(workspace: Workspace, day: date, config_file: Path, force: bool) -> dict[str, Any]:
    staged = ingest(workspace, day)
    validated = validate(workspace, staged)
    published = publish(workspace, staged, force)
    return learn(
        workspace,
        staged,
        validated,
        published,
        train=partial(fine_tune, workspace, config_file),
        settle=partial(ask_for_review, workspace, config_file),
    )


def learn(
    workspace: Workspace,
    staged: Staged,
    validated: Validated,
    published: Published,
    *,
    train: Callable[[Published, Trigger], Challenger],
    settle: Callable[[Verdict], None] = lambda _: None,
) -> dict[str, Any]:
    """What is made of a published day: its record, drift, and a challenger where it is worth one.

    Challengers in shadow are judged before anything trains on the day; what is trained after one of
    them went live is compared with that one.

    Args:
        train: gives the day's challenger.
        settle: told each verdict before the day is closed.
    """
    champion = score_champion(workspace, published)
    shadows = judge_shadows(workspace, published, champion)
    for judged in shadows.shadows:
        settle(judged.verdict)
    drift = detect_drift(workspace, published, champion)

    trigger = decide_retrain(workspace, published, shadows.serving(champion), drift)
    if not trigger.retrain:
        return close_day(workspace, staged, validated, published, champion, shadows, drift, trigger)

    challenger = train(published, trigger)
    contest = evaluate(workspace, published, challenger)
    verdict = promote(workspace, published, challenger, contest, shadows)
    settle(verdict)
    return close_day(
        workspace,
        staged,
        validated,
        published,
        champion,
        shadows,
        drift,
        trigger,
        challenger,
        contest,
        verdict,
    )
