import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import length_ranker
import pytest
from killed_client import killed_at
from registries import child_environment, open_registry, register_in

from tasks.errors import RegistryError
from tasks.registry import folder
from tasks.registry.registry import Registry
from tasks.registry.store import open_client
from tasks.registry.version import ModelVersion

Register = Callable[[str], ModelVersion]

STEPS = [
    "create_experiment",
    "create_run",
    "create_logged_model",
    "log_outputs",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_batch",
    "log_artifacts",
    "set_terminated",
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
]


def contents(home: Path) -> dict[str, int]:
    client = open_client(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("dayspring.portal")
    experiments = [experiment.experiment_id] if experiment else []
    return {
        "runs": len(client.search_runs(experiments)) if experiments else 0,
        "models": len(client.search_logged_models(experiments)) if experiments else 0,
        "versions": len(client.search_model_versions("name = 'dayspring.portal'")),
    }


def test_a_version_carries_what_an_operator_needs(registry: Registry, register: Register) -> None:
    version = register("f1")

    assert version.version == "1"
    assert version.uri == "models:/dayspring.portal/1"
    assert version.tags["fingerprint"] == "f1"
    assert version.tags["verdict"] == "not judged"
    assert version.tags["review"] == "not reviewed"
    assert version.trained_through is not None
    assert version.trained_through.isoformat() == "2019-11-11T00:00:00+00:00"
    assert "no champion yet" in version.description
    assert registry.challenger() == version
    assert registry.champion() is None


def test_the_run_holds_parameters_metrics_and_files(home: Path, register: Register) -> None:
    version = register("f1")

    client = open_client(f"sqlite:///{home}/mlflow.db")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"shots": "64", "learning_rate": "0.0002"}
    assert run.data.metrics == {"validation_auc": 0.671}
    assert [file.path for file in client.list_artifacts(version.run_id, "plots")] == [
        "plots/roc.svg"
    ]


def test_the_downloaded_folder_is_the_registered_one(
    registry: Registry, register: Register, ranker: Path
) -> None:
    downloaded = registry.download(register("f1").version)

    assert (downloaded / "head.json").read_bytes() == (ranker / "head.json").read_bytes()


def test_a_version_holds_no_pickle(registry: Registry, register: Register) -> None:
    files = {
        file.name
        for file in registry.download(register("f1").version).parents[1].rglob("*")
        if file.is_file()
    }

    assert files == {
        "MLmodel",
        "conda.yaml",
        "python_env.yaml",
        "requirements.txt",
        "input_example.json",
        "serving_input_example.json",
        "head.json",
    }


def test_a_repeat_with_the_same_fingerprint_creates_nothing(home: Path, register: Register) -> None:
    first = register("f1")
    before = contents(home)

    assert register("f1") == first
    assert contents(home) == before == {"runs": 1, "models": 1, "versions": 1}


def test_another_fingerprint_is_another_version(registry: Registry, register: Register) -> None:
    register("f1")
    second = register("f2")

    assert second.version == "2"
    assert registry.challenger() == second


def test_a_late_repeat_does_not_take_the_alias_from_a_newer_challenger(
    registry: Registry, register: Register
) -> None:
    register("f1")
    newer = register("f2")

    register("f1")

    assert registry.challenger() == newer


# After one step is before the next.
@pytest.mark.parametrize(
    ("step", "moment"), [*((step, "before") for step in STEPS), (STEPS[-1], "after")]
)
def test_a_registration_killed_anywhere_is_completed_by_its_repeat(
    home: Path, ranker: Path, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    with killed_at(monkeypatch, step, moment):
        register_in(open_registry(home), ranker)
    left = contents(home)
    complete = STEPS.index(step) > STEPS.index("create_model_version")
    assert left["versions"] == int(complete), "a half-written version counts"

    registry = open_registry(home)
    version = register_in(registry, ranker)

    assert contents(home) == {"runs": 1, "models": 1, "versions": 1}
    assert registry.challenger() == version
    assert registry.download(version.version).is_dir()
    run = open_client(registry.tracking_uri).get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert [m.model_id for m in run.outputs.model_outputs] == [Path(version.source).parent.name]


def test_a_run_ended_by_sigkill_is_resumed_under_its_own_id(home: Path, ranker: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
import mlflow
from registries import open_registry, register_in

mlflow.MlflowClient.log_artifacts = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
register_in(open_registry(Path(sys.argv[1])), Path(sys.argv[2]))
"""
    killed = subprocess.run(
        [sys.executable, "-c", script, str(home), str(ranker)], env=child_environment(), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert contents(home) == {"runs": 1, "models": 1, "versions": 0}
    client = open_client(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("dayspring.portal")
    interrupted = client.search_runs([experiment.experiment_id])[0].info.run_id

    version = register_in(open_registry(home), ranker)

    assert version.run_id == interrupted
    assert contents(home) == {"runs": 1, "models": 1, "versions": 1}


def test_a_fresh_process_loads_the_champion_by_its_alias_and_predicts(
    home: Path, registry: Registry, register: Register
) -> None:
    registry.promote(register("f1").version, compared_with=None, reason="first", evidence={})
    script = """
import json
import mlflow.pyfunc, pandas as pd

model = mlflow.pyfunc.load_model("models:/dayspring.portal@champion")
example = model.predict(model.input_example)
titles = pd.DataFrame({"history": [[]], "candidates": [["four", "sixsix"]]})
print(json.dumps([model.predict(titles), len(example)]))
"""
    environment = child_environment() | {"MLFLOW_TRACKING_URI": registry.tracking_uri}
    loaded = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )

    assert json.loads(loaded.stdout) == [[[0.04, 0.06]], 2]
    # MLflow writes a file of its own into the folder it loads; that is no tampering.
    assert registry.download("1").is_dir()


def test_a_version_of_three_megabytes_is_refused_and_leaves_none(
    home: Path, registry: Registry, ranker: Path
) -> None:
    (ranker / "base.safetensors").write_bytes(bytes(folder.MAX_BYTES))

    with pytest.raises(RegistryError, match=r"base\.safetensors with 3,000,000"):
        register_in(registry, ranker)
    assert contents(home)["versions"] == 0


def test_whole_layers_may_be_larger_where_the_limit_is_lifted(
    registry: Registry, ranker: Path
) -> None:
    (ranker / "adapter.safetensors").write_bytes(bytes(folder.MAX_BYTES))

    assert register_in(registry, ranker, max_bytes=None).version == "1"


def test_an_empty_folder_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(RegistryError, match="holds no model"):
        register_in(registry, tmp_path / "empty")


def test_an_altered_file_is_noticed(registry: Registry, register: Register) -> None:
    downloaded = registry.download(register("f1").version)
    length_ranker.save(downloaded, weight=9.0)

    with pytest.raises(RegistryError, match="were altered"):
        registry.download("1")


def test_missing_files_are_noticed(registry: Registry, register: Register) -> None:
    downloaded = registry.download(register("f1").version)
    downloaded.parents[1].rename(downloaded.parents[2] / "elsewhere")

    with pytest.raises(RegistryError, match="are missing"):
        registry.download("1")


def test_what_is_attached_twice_is_there_once(
    home: Path, registry: Registry, register: Register
) -> None:
    version = register("f1")
    for _ in range(2):
        registry.attach("1", files={"report.html": b"<p>"}, metrics={"challenger_auc": 0.68})

    client = open_client(f"sqlite:///{home}/mlflow.db")
    assert len(client.get_metric_history(version.run_id, "challenger_auc")) == 1
    assert "report.html" in {file.path for file in client.list_artifacts(version.run_id)}


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", ""])
def test_a_file_name_that_leaves_the_run_is_refused(
    registry: Registry, register: Register, name: str
) -> None:
    register("f1")

    with pytest.raises(RegistryError, match="no file name inside a run"):
        registry.attach("1", files={name: b""})
