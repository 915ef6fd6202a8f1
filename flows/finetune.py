"""Fine-tuning, a flow of its own so that a worker elsewhere, with a GPU, can run it."""

from pathlib import Path

from prefect import flow

from flows.failures import TELLING
from tasks.references import Challenger, Published, Trigger
from tasks.register import register, registered
from tasks.train import train
from tasks.workspace import open_workspace


@flow(name="finetune", flow_run_name="{pipeline}-{published.day}", persist_result=True, **TELLING)
def finetune(
    pipeline: str, config_file: Path, published: Published, trigger: Trigger
) -> Challenger:
    """Train a challenger on the days up to `published` and register it."""
    workspace = open_workspace(config_file, pipeline)
    if (challenger := registered(workspace, published)) is not None:
        return challenger
    trained = train(workspace, published)
    return register(workspace, published, trained, trigger)
