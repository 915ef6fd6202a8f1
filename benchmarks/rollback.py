"""Rollback: seconds from the start of the command until MLflow resolves the alias to the old version.

    python benchmarks/rollback.py [--times 20] [--folder DIR] [--json]

For the embedded registry (SQLite) and for an MLflow server, started here as a process. Each time is
a fresh `dayspring rollback` process, Python's start included; another process, which has MLflow
imported, asks for `models:/dayspring.portal@champion` every 50 milliseconds.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.environment import prepare_environment
from tasks.registry.journal import LIVE_SINCE, Outcome
from tasks.registry.store import open_client
from tasks.workspace import Workspace, open_workspace

LOOK_SECONDS = 0.05
"""Between two looks: a server that is asked without a pause is slower with the move itself."""

CONFIG = """
home: ./home
services: {{lake: ./lake, registry: "{registry}"}}
pipelines:
  portal:
    source: {{format: jsonl, interactions: "./logs/{{date}}.json", items: ./items.json}}
    schedule: {{cron: "30 4 * * *"}}
    retrain: {{any: [{{rule: always}}]}}
    finetune: {{shots: 64}}
    promote: {{min_gain: 0.0}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    prepare_environment()
    results = {}
    for kind, server in (("SQLite", nullcontext("")), ("MLflow server", None)):
        with (
            tempfile.TemporaryDirectory(dir=chosen.folder) as folder,
            server or serving(Path(folder)) as url,
        ):
            config = Path(folder) / "pipelines.yaml"
            config.write_text(CONFIG.format(registry=url))
            results[kind] = measure(config, chosen.times)
    if chosen.json:
        print(json.dumps(results))
        return
    print("| registry | times | within 1 s | median s | slowest s | whole command, median s |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind, (moved, whole) in results.items():
        print(
            f"| {kind} | {len(moved)} | {sum(each < 1 for each in moved)} "
            f"| {statistics.median(moved):.2f} | {max(moved):.2f} "
            f"| {statistics.median(whole):.2f} |"
        )


def measure(config: Path, times: int) -> tuple[list[float], list[float]]:
    """Seconds until the alias stood on version 1 again, and until the command had ended."""
    workspace = open_workspace(config, "portal")
    crown(workspace, "f1", None)
    crown(workspace, "f2", "1")
    client = open_client(workspace.tracking_uri)
    name = workspace.registry.name
    moved, whole = [], []
    for _ in range(times):
        began = time.perf_counter()
        command = start(config, "1")
        while str(client.get_model_version_by_alias(name, "champion").version) != "1":
            assert command.poll() in (None, 0), command.communicate()[0]
            time.sleep(LOOK_SECONDS)
        moved.append(time.perf_counter() - began)
        said, _ = command.communicate()
        assert command.returncode == 0, said
        whole.append(time.perf_counter() - began)
        back = start(config, "2")
        said, _ = back.communicate()
        assert back.returncode == 0, said
    return moved, whole


def start(config: Path, to: str) -> "subprocess.Popen[str]":
    words = ["rollback", "portal", "--to", to, "--reason", "measured", "--config", str(config)]
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def crown(workspace: Workspace, fingerprint: str, over: str | None) -> None:
    """Register a version and promote it, as a day does."""
    saved = workspace.home / "saved"
    saved.mkdir(exist_ok=True)
    (saved / "head.json").write_text("{}")
    version = workspace.registry.register(
        saved,
        fingerprint=fingerprint,
        loader_module="tasks.recommender.pyfunc",
        tags={},
        params={},
        metrics={},
    ).version
    moved = workspace.registry.promote(version, compared_with=over, reason="it won", evidence={})
    assert moved.live_since is not None
    outcome = Outcome(
        "it won", model_version=version, evidence={LIVE_SINCE: moved.live_since.isoformat()}
    )
    workspace.journal.once(f"day/{version}", "promoted", lambda: outcome)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """An MLflow server on SQLite, as a process on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    options += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    options += ["--artifacts-destination", str(folder / "artifacts")]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, "the MLflow server ended"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait()


if __name__ == "__main__":
    main()
