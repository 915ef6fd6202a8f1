"""A version that waits for a person: a run that pauses for the decision, and carries it out."""

import logging
from pathlib import Path
from typing import Any, Literal

from prefect import flow
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field

from flows.failures import TELLING
from tasks.cards import card_of
from tasks.references import Verdict
from tasks.report.card import card_markdown
from tasks.review import already_decided, decide, follow_up, review_of
from tasks.workspace import Workspace, open_workspace

logger = logging.getLogger("dayspring")

PAUSE_SECONDS = 30 * 24 * 3600
"""How long a run without a deployment waits; one with a deployment is suspended for ever."""

POLL_SECONDS = 2
"""How often a run that waits in its process looks whether it was resumed."""


class Decision(RunInput):
    """What Prefect asks the reviewer for."""

    decision: Literal["approve", "reject"]
    reason: str = Field(min_length=1)
    actor: str = Field(min_length=1)


@flow(name="review", flow_run_name="{pipeline}-v{version}", persist_result=True, **TELLING)
def review(pipeline: str, version: str, config_file: Path) -> dict[str, Any]:
    """Wait for a person's decision about `version`, and carry it out.

    Returns what was decided: here, or by command line while the run waited.
    """
    workspace = open_workspace(config_file, pipeline)
    if (decided := already_decided(workspace, version)) is not None:
        return decided.to_json()
    answer = _wait_for_answer(workspace, version)
    by = review_of(answer.actor, answer.reason)
    decided = decide(workspace, version, answer.decision, by)
    if decided.changed and decided.decision == "approved":
        follow_up(workspace)
    return decided.to_json()


def ask_for_review(workspace: Workspace, config_file: Path, verdict: Verdict) -> None:
    """Start a review run for a version that waits, where a deployment `review/<pipeline>` can.

    A repeat of the day starts no second run: the version names the run.
    """
    if verdict.decision != "waiting for approval":
        return
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        run_deployment(
            f"review/{workspace.name}",
            parameters={
                "pipeline": workspace.name,
                "version": verdict.model_version,
                "config_file": str(config_file),
            },
            timeout=0,
            as_subflow=False,  # the day ends while the version waits
            idempotency_key=f"review/{workspace.name}/v{verdict.model_version}",
        )
    except ObjectNotFound:
        logger.info("Decide with: dayspring review %s", workspace.name)


def _wait_for_answer(workspace: Workspace, version: str) -> Decision:
    """Pause until the run is resumed with a decision; a worker's run gives its place back."""
    card = card_of(workspace, version)
    assert card is not None, "a version that waits has a card"
    asked = Decision.with_initial_data(description=card_markdown(card))
    if deployment.id is not None:
        return suspend_flow_run(wait_for_input=asked, timeout=None, key=f"v{version}")
    return pause_flow_run(wait_for_input=asked, timeout=PAUSE_SECONDS, poll_interval=POLL_SECONDS)
