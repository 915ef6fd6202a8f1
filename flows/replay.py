"""What another policy would have made of the stored days: a history of its own, nothing goes live."""

from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow

from flows.daily import learn
from tasks.compare_histories import compare_histories
from tasks.references import Challenger, Published, Trigger
from tasks.register import register, registered
from tasks.replay import StoredDay, begin_replay, replay_workspace
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
    """A day as `daily` adapts to it, from its publication on; a complete one is not repeated."""
    if not workspace.journal.find(stored.published.key("closed")):
        learn(
            workspace,
            stored.staged,
            stored.validated,
            stored.published,
            train=partial(_fine_tune, workspace),
        )


def _fine_tune(workspace: Workspace, published: Published, trigger: Trigger) -> Challenger:
    return registered(workspace, published) or register(
        workspace, published, train(workspace, published), trigger
    )
