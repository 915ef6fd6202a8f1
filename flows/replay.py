"""What another policy would have made of the stored days: a history of its own, nothing goes live."""

from datetime import date
from pathlib import Path
from typing import Any

from prefect import flow

from tasks.close_day import close_day
from tasks.compare_histories import compare_histories
from tasks.decide_retrain import decide_retrain
from tasks.detect_drift import detect_drift
from tasks.evaluate import evaluate
from tasks.promote import promote
from tasks.register import register, registered
from tasks.replay import StoredDay, begin_replay, replay_workspace
from tasks.score_champion import score_champion
from tasks.train import train
from tasks.workspace import Workspace, open_workspace


@flow(name="replay", flow_run_name="{pipeline}-{first}-{last}", persist_result=False)
def replay(
    pipeline: str,
    first: date,
    last: date,
    config_file: Path,
    overrides: list[str],
    name: str | None = None,
) -> dict[str, Any]:
    """Adapt to the stored days from `first` to `last` again, under the policy that `overrides` change.

    Returns the comparison with the real history, the document that `--json` prints.
    """
    real = open_workspace(config_file, pipeline)
    workspace = replay_workspace(real, first, overrides, name)
    with workspace.alone():
        days = begin_replay(real, workspace, first, last)
        for day in days:
            _adapt(workspace, day)
        return compare_histories(real, workspace, days, overrides)


def _adapt(workspace: Workspace, stored: StoredDay) -> None:
    """A day as `flows.daily` adapts to it, from its publication on; a complete one is not repeated."""
    staged, validated, published = stored.staged, stored.validated, stored.published
    if workspace.journal.find(published.key("closed")):
        return

    champion = score_champion(workspace, published)
    drift = detect_drift(workspace, published, champion)

    trigger = decide_retrain(workspace, published, champion, drift)
    if not trigger.retrain:
        close_day(workspace, staged, validated, published, champion, drift, trigger)
        return

    challenger = registered(workspace, published) or register(
        workspace, published, train(workspace, published), trigger
    )
    contest = evaluate(workspace, published, challenger)
    verdict = promote(workspace, published, challenger, contest)
    close_day(
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
