"""The steps that make one model version; each finds what an earlier, killed attempt left behind.

The caller holds the pipeline's lock. A run is found by its fingerprint and a logged model by its
run, so a repeat continues both; writing the same files again changes nothing.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import RegistryError
from tasks.registry import folder as folders
from tasks.registry.describe import describe
from tasks.registry.version import DIGEST, FINGERPRINT, REVIEW, VERDICT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion


def resume_run(client: "MlflowClient", name: str, artifacts: str | None, fingerprint: str) -> "Run":
    """The run of `fingerprint` in the experiment `name`; both are created if they are missing.

    Raises:
        RegistryError: the experiment was deleted in MLflow.
    """
    experiment = _experiment(client, name, artifacts)
    runs = client.search_runs([experiment], f"tags.{FINGERPRINT} = '{quoted(fingerprint)}'")
    if runs:
        return runs[-1]  # the oldest: the one that a kill interrupted
    return client.create_run(
        experiment, tags={FINGERPRINT: fingerprint}, run_name=f"{name} {fingerprint[:12]}"
    )


def log_ranker(
    client: "MlflowClient",
    run: "Run",
    ranker: Path,
    loader_module: str,
    max_bytes: int | None = folders.MAX_BYTES,
) -> tuple[str, str, str]:
    """Upload the version's folder as a logged model of `run`.

    Returns:
        The logged model's id, the location of its files, and their SHA-256.
    """
    model = _logged_model(client, run)
    with folders.scratch() as scratch:
        folder = folders.wrap(
            ranker,
            Path(scratch),
            loader_module=loader_module,
            model_id=model.model_id,
            run_id=run.info.run_id,
            max_bytes=max_bytes,
        )
        digest = folders.digest(folder)
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    return model.model_id, model.artifact_location, digest


def log_figures(
    client: "MlflowClient", run: "Run", params: Mapping[str, object], metrics: Mapping[str, float]
) -> None:
    """Log parameters that the run lacks, and metrics whose value there is another."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    absent = {key: value for key, value in params.items() if key not in run.data.params}
    changed = {key: value for key, value in metrics.items() if run.data.metrics.get(key) != value}
    logged = [Metric(key, float(value), now, 0) for key, value in changed.items()]
    told = [Param(key, str(value)) for key, value in absent.items()]
    # A server takes 100 parameters at a time.
    for first in range(0, max(1, len(told)), 100):
        client.log_batch(
            run.info.run_id,
            params=told[first : first + 100],
            metrics=[] if first else logged,
        )


def log_files(client: "MlflowClient", run_id: str, files: Mapping[str, bytes]) -> None:
    """Write `files` among the run's artifacts, replacing those of the same name."""
    with folders.scratch() as scratch:
        folders.write_files(files, Path(scratch))
        client.log_artifacts(run_id, scratch)


def create_version(
    client: "MlflowClient",
    name: str,
    run_id: str,
    model: tuple[str, str, str],
    tags: Mapping[str, str],
) -> "MlflowVersion":
    """Create the version with all its tags: the one transaction that makes it visible."""
    model_id, source, digest = model
    _registered_model(client, name)
    complete = {VERDICT: "not judged", REVIEW: "not reviewed"} | dict(tags) | {DIGEST: digest}
    return client.create_model_version(
        name,
        source,
        run_id,
        tags=complete,
        description=describe(name, complete, {}),
        model_id=model_id,
    )


def quoted(text: str) -> str:
    """`text` as it stands between single quotes in a search filter.

    Raises:
        RegistryError: it holds a quote, for which MLflow's filters have no escape.
    """
    if "'" in text or '"' in text:
        raise RegistryError(
            f"{text!r} holds a quote, which no search filter can. Use a hash instead."
        )
    return text


def _experiment(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        location = f"{artifacts}/{name}" if artifacts else None
        return client.create_experiment(name, artifact_location=location)
    if found.lifecycle_stage != "active":
        raise RegistryError(
            f"Experiment {name} is deleted in MLflow. Restore it with "
            f"`mlflow experiments restore -x {found.experiment_id}`."
        )
    return found.experiment_id


def _logged_model(client: "MlflowClient", run: "Run") -> "LoggedModel":
    from mlflow.entities import LoggedModelOutput

    run_id = run.info.run_id
    found = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    model = (
        found[-1]
        if found
        else client.create_logged_model(
            run.info.experiment_id, name="ranker", source_run_id=run_id, model_type="ranker"
        )
    )
    outputs = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def _registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(
            name,
            description="`champion` is live; each version's page says why it is or is not.",
        )
