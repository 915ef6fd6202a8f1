"""The lake on a real S3 API: two writers at once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from portal import DAYS, write_config

from tasks.workspace import open_workspace


def on_s3(config: Path, lake: str) -> Path:
    """The config with its lake on S3."""
    document = yaml.safe_load(config.read_text())
    document["services"] = {"lake": lake, "registry": ""}
    config.write_text(yaml.safe_dump(document))
    return config


@pytest.fixture(scope="module")
def services(grown: Any) -> dict[str, str]:
    """The environment of a process that uses the stack."""
    return {**os.environ, **grown.env()}


@pytest.fixture
def in_environment(grown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack's addresses and credentials in this process."""
    for name, value in grown.env().items():
        monkeypatch.setenv(name, value)


def test_two_writers_at_once_lose_and_double_nothing(
    services: dict[str, str], in_environment: None, tmp_path: Path, portal_logs: Path
) -> None:
    lake = f"{services['DAYSPRING_LAKE']}-writers"
    config = on_s3(write_config(tmp_path, portal_logs), lake)
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
