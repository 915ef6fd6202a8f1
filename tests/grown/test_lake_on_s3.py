"""The lake on a real S3 API: a whole day, two writers at once, and where credentials come from."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from portal import DAYS, write_config

from tasks.workspace import open_workspace

TABLES = ("interactions", "items", "item_hours", "quarantine")


def on_services(config: Path, lake: str, registry: str = "") -> Path:
    """The config with its lake and registry on services."""
    document = yaml.safe_load(config.read_text())
    document["services"] = {"lake": lake, "registry": registry}
    config.write_text(yaml.safe_dump(document))
    return config


def dayspring(
    config: Path, env: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments, "--config", str(config)],
        env=env,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.fixture(scope="module")
def services(grown: Any) -> dict[str, str]:
    """The environment of a process that uses the stack."""
    return {**os.environ, **grown.env()}


@pytest.fixture
def in_environment(grown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack's addresses and credentials in this process."""
    for name, value in grown.env().items():
        monkeypatch.setenv(name, value)


def test_a_whole_day_on_s3_and_a_server_is_the_day_that_a_folder_gives(
    services: dict[str, str], in_environment: None, grown: Any, tmp_path: Path, portal_logs: Path
) -> None:
    lake, registry = f"{services['DAYSPRING_LAKE']}-day", services["MLFLOW_TRACKING_URI"]
    (tmp_path / "grown").mkdir()
    (tmp_path / "embedded").mkdir()
    configs = {
        "grown": on_services(write_config(tmp_path / "grown", portal_logs), lake, registry),
        "embedded": write_config(tmp_path / "embedded", portal_logs),
    }
    records = {}
    for name, config in configs.items():
        done = dayspring(config, services, "run", "portal", "--day", str(DAYS[0]), "--json")
        assert done.returncode == 0, done.stderr
        records[name] = json.loads(done.stdout)

    ours, theirs = records["grown"], records["embedded"]
    for fact in ("rows_read", "published", "quarantined", "duplicates", "champion_auc", "verdict"):
        assert ours[fact] == theirs[fact], fact
    assert ours["contest"]["gain"] == pytest.approx(theirs["contest"]["gain"], abs=1e-6)
    far, near = (open_workspace(config, "portal") for config in configs.values())
    for table in TABLES:
        assert far.lake.read(table).num_rows == near.lake.read(table).num_rows > 0
    # Nothing of the lake or of the registry is left on this machine, and no secret anywhere.
    assert not (tmp_path / "grown" / ".dayspring" / "lake").exists()
    assert not (tmp_path / "grown" / ".dayspring" / "mlflow.db").exists()
    written = [f for f in (tmp_path / "grown").rglob("*") if f.is_file()]
    assert len(written) > 3
    secret = services["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [f for f in written if secret in f.read_bytes()]
    # The artifacts went through the server to the store: what was registered comes back intact.
    assert any(far.registry.download("1").iterdir())


def test_two_writers_at_once_lose_and_double_nothing(
    services: dict[str, str], in_environment: None, tmp_path: Path, portal_logs: Path
) -> None:
    lake = f"{services['DAYSPRING_LAKE']}-writers"
    config = on_services(write_config(tmp_path, portal_logs), lake)
    script = Path(__file__).with_name("publishing_writer.py")
    shared = [f"shared/{n}" for n in range(5)]
    writers = []
    for name, days in (("a", [DAYS[0], DAYS[2]]), ("b", [DAYS[1]])):
        keys = ",".join([*shared, *(f"{name}/{n}" for n in range(5))])
        writers.append(
            subprocess.Popen(
                [
                    sys.executable,
                    str(script),
                    str(config),
                    str(tmp_path / name),
                    keys,
                    *map(str, days),
                ],
                env=services,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, told = writer.communicate(timeout=400)
        assert writer.returncode == 0, told

    workspace = open_workspace(config, "portal")
    rows = workspace.lake.read("interactions", columns=["event_id", "source_day"])
    assert len(rows["event_id"].unique()) == rows.num_rows
    assert set(rows["source_day"].to_pylist()) == set(DAYS)
    keys = [entry.key for entry in workspace.journal.entries()]
    assert sorted(keys) == sorted([*shared, *(f"{w}/{n}" for w in "ab" for n in range(5))])
