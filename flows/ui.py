"""The three things to look at, served on this machine only: reports, registry, runs."""

import functools
import os
import socket
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console

from tasks.config_file import load_config
from tasks.environment import keep_state_under
from tasks.errors import ConfigError
from tasks.workspace import open_workspace

HOST = "127.0.0.1"


def serve(config_file: Path, *, reports_port: int, mlflow_port: int, prefect_port: int) -> None:
    """Serve until interrupted; a port that is taken is an error before anything starts."""
    for option, port in (
        ("--reports-port", reports_port),
        ("--mlflow-port", mlflow_port),
        ("--prefect-port", prefect_port),
    ):
        _require_free(port, option)
    config = load_config(config_file)
    home = Path(config.home)
    keep_state_under(home)
    tracking_uri = open_workspace(config_file, next(iter(config.pipelines))).tracking_uri
    console = Console(stderr=True)
    servers = [_start_mlflow(tracking_uri, home, mlflow_port), _start_prefect(prefect_port)]
    reports = _serve_reports(home / "reports", reports_port)
    try:
        console.print(f"reports   http://{HOST}:{reports_port}/", highlight=False)
        console.print(f"registry  http://{HOST}:{mlflow_port}/", highlight=False)
        console.print(f"runs      http://{HOST}:{prefect_port}/", highlight=False)
        console.print("Ctrl-C ends all three.")
        for server in servers:
            server.wait()
    except KeyboardInterrupt:
        console.print("stopped")
    finally:
        reports.shutdown()
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise ConfigError(
                f"Port {port} of {HOST} is in use; choose another with {option}."
            ) from None


def _start_mlflow(tracking_uri: str, home: Path, port: int) -> subprocess.Popen[bytes]:
    command = ["server", "--backend-store-uri", tracking_uri, "--host", HOST, "--port", str(port)]
    return _start("mlflow", [*command, "--default-artifact-root", str(home / "mlartifacts")])


def _start_prefect(port: int) -> subprocess.Popen[bytes]:
    return _start("prefect", ["server", "start", "--host", HOST, "--port", str(port)])


def _start(program: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    # The program of this very environment, whatever PATH says.
    executable = Path(sys.executable).parent / program
    # In sessions of their own, so that Ctrl-C reaches us alone, and we end them in order.
    return subprocess.Popen([str(executable), *arguments], env=os.environ, start_new_session=True)


def _serve_reports(folder: Path, port: int) -> ThreadingHTTPServer:
    folder.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer((HOST, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line a request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
