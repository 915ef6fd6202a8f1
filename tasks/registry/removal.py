"""Taking model versions out of MLflow, and finding what never became one.

A version goes first, in one transaction: what MLflow lists stays complete. Its run, its logged models
and their files go after it; a run that was killed between the two is found again as a leftover.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.registry.folder import local_path
from tasks.registry.version import DIGEST, FINGERPRINT, ModelVersion, from_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Leftover:
    """A run of our experiment that no version stands on."""

    run_id: str
    fingerprint: str
    """What it would have become; empty for a run that is not ours."""
    started_at: datetime


def versions_of(client: "MlflowClient", name: str) -> list[ModelVersion]:
    """Every version that Dayspring registered, oldest first; others are left alone."""
    found = _pages(client.search_model_versions, filter_string=f"name = '{name}'")
    ours = [one for one in found if {FINGERPRINT, DIGEST} <= set(one.tags)]
    return sorted(map(from_mlflow, ours), key=lambda version: int(version.version))


def leftovers_of(client: "MlflowClient", name: str) -> list[Leftover]:
    """The runs with a fingerprint that no version stands on, oldest first."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return []
    found = _pages(client.search_model_versions, filter_string=f"name = '{name}'")
    used = {one.run_id for one in found}
    runs = _pages(client.search_runs, experiment_ids=[experiment.experiment_id])
    ours = [
        Leftover(
            run.info.run_id,
            run.data.tags[FINGERPRINT],
            datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        )
        for run in runs
        if run.info.run_id not in used and FINGERPRINT in run.data.tags
    ]
    return sorted(ours, key=lambda run: run.started_at)


def remove_run(client: "MlflowClient", run_id: str, tracking_uri: str) -> None:
    """Delete the run, its logged models and the files of all of them; a repeat deletes the rest.

    MLflow keeps the deleted rows, without files, until `mlflow gc`.
    """
    run = client.get_run(run_id)
    models = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    for model in models:
        _remove_files(model.artifact_location, tracking_uri)
        client.delete_logged_model(model.model_id)
    _remove_files(run.info.artifact_uri, tracking_uri)
    # Last, for a deleted run is not found again.
    client.delete_run(run_id)


def _remove_files(location: str, tracking_uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(location, tracking_uri=tracking_uri).delete_artifacts()
    folder = local_path(location)
    if folder is not None and folder.parent.is_dir() and not any(folder.parent.iterdir()):
        Path.rmdir(folder.parent)


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """All results of one of MLflow's searches, page by page."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
