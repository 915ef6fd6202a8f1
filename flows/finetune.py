"""Fine-tuning, a flow of its own so that a worker elsewhere, with a GPU, can run it."""

from pathlib import Path

from prefect import flow

from flows.failures import TELLING
from tasks.references import Challenger, Published, Trigger
from tasks.register import register, registered
from tasks.stage import patiently
from tasks.train import train
from tasks.workspace import open_workspace


@flow(name="finetune", flow_run_name="{pipeline}-{published.day}", persist_result=False, **TELLING)
def finetune(
    pipeline: str, config_file: Path, published: Published, trigger: Trigger
) -> Challenger:
    """Train a challenger on the days up to `published` and register it.

    The journal's `trained` entry is the result; whoever waits for a worker reads it there.
    """
    workspace = open_workspace(config_file, pipeline)
    with workspace.training() as lease:
        if (challenger := patiently(registered, workspace, published)) is not None:
            return challenger
        trained = train(workspace, published)
        # A worker that was taken to be dead leaves the version to the one that took over.
        patiently(lease.check)
        return register(workspace, published, trained, trigger)
