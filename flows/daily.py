"""One day: the main job."""

from datetime import date
from pathlib import Path
from typing import Any

from prefect import flow

from flows.failures import TELLING
from flows.finetune import finetune
from flows.review import ask_for_review
from tasks.close_day import close_day
from tasks.decide_retrain import decide_retrain
from tasks.detect_drift import detect_drift
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.live import reconcile
from tasks.plan import completed_record
from tasks.promote import promote
from tasks.prune import prune_weekly
from tasks.publish import publish
from tasks.score_champion import score_champion
from tasks.validate import validate
from tasks.workspace import Workspace, open_workspace


@flow(name="daily", flow_run_name="{pipeline}-{day}", persist_result=False, **TELLING)
def daily(pipeline: str, day: date, config_file: Path, force: bool = False) -> dict[str, Any]:
    """Adapt `pipeline` to `day`; the challenger goes live only if it beats the champion.

    Returns the day's record, the document that `--json` prints. A complete day with unchanged
    inputs is not run again unless `force`.
    """
    workspace = open_workspace(config_file, pipeline)
    with workspace.alone():
        reconcile(workspace, continued=day)
        if not force and (record := completed_record(workspace, day)):
            return record
        record = _adapt(workspace, day, config_file, force)
        prune_weekly(workspace)
        return record


def _adapt(workspace: Workspace, day: date, config_file: Path, force: bool) -> dict[str, Any]:
    staged = ingest(workspace, day)
    validated = validate(workspace, staged)
    published = publish(workspace, staged, force)

    champion = score_champion(workspace, published)
    drift = detect_drift(workspace, published, champion)

    trigger = decide_retrain(workspace, published, champion, drift)
    if not trigger.retrain:
        return close_day(workspace, staged, validated, published, champion, drift, trigger)

    challenger = finetune(workspace.name, config_file, published, trigger)
    contest = evaluate(workspace, published, challenger)
    verdict = promote(workspace, published, challenger, contest)
    ask_for_review(workspace, config_file, verdict)
    return close_day(
        workspace,
        staged,
        validated,
        published,
        champion,
        drift,
        trigger,
        challenger,
        contest,
        verdict,
    )
