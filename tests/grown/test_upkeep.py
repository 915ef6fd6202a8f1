"""`doctor` and `prune` where the lake is on S3 and the registry on an MLflow server."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import mlflow
import pandas as pd
import pytest
import yaml
from aged_tables import aged
from furnish import KEPT, REMOVED, RETENTION, furnish, hours_of
from portal import FIRST_DAY, write_config

from flows.cli import main
from tasks.errors import LakeError
from tasks.registry.journal import Outcome
from tasks.registry.registration import quoted
from tasks.registry.store import open_client
from tasks.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(
    grown: Any, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """The six versions of a pipeline of the test's own."""
    name = request.function.__name__.removeprefix("test_")
    for variable, value in grown.env().items():
        monkeypatch.setenv(variable, value)
    config = write_config(tmp_path, tmp_path, retention=RETENTION)
    document = yaml.safe_load(config.read_text())
    document["pipelines"] = {name: document["pipelines"]["portal"]}
    services = grown.env()
    document["services"] = {
        "lake": f"{services['DAYSPRING_LAKE']}-{name}",
        "registry": services["MLFLOW_TRACKING_URI"],
    }
    config.write_text(yaml.safe_dump(document))
    workspace = open_workspace(config, name)
    furnish(workspace, tmp_path / "ranker", grow_old=age)
    return workspace


def age(table: str) -> None:
    """Move every time in the log of a table on S3 into the past by 40 days."""
    place = urlsplit(table)
    bucket = boto3.resource("s3").Bucket(place.netloc)
    for commit in bucket.objects.filter(Prefix=f"{place.path[1:]}/_delta_log/"):
        text = commit.get()["Body"].read().decode()
        commit.put(Body=aged(text, 40).encode())


@pytest.fixture
def dayspring(workspace: Workspace, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command of the pipeline in this process; its exit code and its document."""

    def run(command: str, *options: str) -> tuple[int, Any]:
        config = str(workspace.home.parent / "pipelines.yaml")
        words = ["dayspring", command, workspace.name, *options, "--json", "--config", config]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return left.value.code, json.loads(capsys.readouterr().out)

    return run


def test_what_nobody_needs_is_removed_and_what_stays_loads(
    workspace: Workspace, dayspring: Any
) -> None:
    code, told = dayspring("prune", "--dry-run")
    [planned] = told["pipelines"]
    assert (code, planned["removed_versions"]) == (0, REMOVED)
    assert len(workspace.registry.versions()) == len(REMOVED) + len(KEPT)

    code, told = dayspring("prune")
    [done] = told["pipelines"]
    assert (code, done["removed_versions"], done["kept_versions"]) == (0, REMOVED, KEPT)
    assert done["removed_files"] == planned["removed_files"]
    assert done["removed_files"]["item_hours"] == 2
    mlflow.set_tracking_uri(workspace.tracking_uri)
    frame = pd.DataFrame({"history": [["a goal"]], "candidates": [["a cup", "shares"]]})
    for version in KEPT:
        model = mlflow.pyfunc.load_model(f"models:/{workspace.registry.name}/{version}")
        assert len(model.predict(frame)[0]) == 2
        assert hours_of(workspace, version) == int(version)
    for version in (1, 3):
        with pytest.raises(LakeError):
            workspace.lake.read("item_hours", version=version)


def test_what_is_broken_is_seen_and_repaired(workspace: Workspace, dayspring: Any) -> None:
    client, name = open_client(workspace.tracking_uri), workspace.registry.name
    client.set_registered_model_alias(name, "champion", "2")
    experiment = client.get_experiment_by_name(name).experiment_id
    client.create_run(experiment, tags={"fingerprint": quoted("half")})
    lost = {"revision": 1, "published": 7, "interactions": 3, "items": 0, "item_hours": 0}
    outcome = Outcome("published", day=FIRST_DAY, evidence=lost)
    workspace.journal.once("lost", "published", lambda: outcome)

    code, document = dayspring("doctor")
    assert (code, document["healthy"]) == (1, False)
    repair = f"dayspring doctor {workspace.name} --fix"
    found = wrong(document, workspace)
    assert found["half-made versions"] == found["journal and registry"] == [repair]
    assert found["lake and journal"]

    _, document = dayspring("doctor", "--fix")
    assert len(document["repaired"]) == 2
    left = wrong(document, workspace)
    assert set(found) - set(left) == {"half-made versions", "journal and registry"}
    assert left["lake and journal"] == found["lake and journal"]
    assert workspace.journal.moves()[-1].model_version == "2"


def wrong(document: Any, workspace: Workspace) -> dict[str, list[str]]:
    """What is wrong with the pipeline: each check's commands; notes are left out."""
    found: dict[str, list[str]] = {}
    for one in document["findings"][workspace.name]:
        if one["severity"] != "note":
            found.setdefault(one["check"], []).append(one["command"])
    return found
