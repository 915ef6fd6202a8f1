"""The services: what each needs, how it is started, and when it is ready.

Every secret reaches its service through the environment, never through a command line, where any
user of the machine could read it.
"""

import http.client
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Any

from infra.local import postgres
from infra.local.errors import StackError
from infra.local.ports import HOST
from infra.local.processes import Command, Recorded
from infra.local.state import State

REGION = "us-east-1"
BUCKET = "dayspring"
POOLS = {"cpu": 4, "gpu": 1}
"""Runs at once by pool: one fine-tuning run fills a card."""

# What the operator set for other servers must not reach ours.
_OURS = ("PREFECT_", "MLFLOW_", "AWS_", "PG")


@dataclass(frozen=True)
class Service:
    """One service of the stack."""

    name: str
    needs: tuple[str, ...]
    address: str
    prepare: Callable[[], None]
    """What has to be there before it can start."""
    command: Callable[[], Command]
    ready: Callable[[Recorded], bool]
    """Whether this process of it does its work, and has made what others expect of it."""


def client_environment(state: State) -> dict[str, str]:
    """What a process needs to use the stack: addresses and credentials."""
    return {
        "PREFECT_API_URL": f"http://{HOST}:{state.ports['prefect']}/api",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{state.ports['mlflow']}",
        "DAYSPRING_LAKE": f"s3://{BUCKET}/lake",
        **_object_store_environment(state),
    }


def _object_store_environment(state: State) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{state.ports['s3']}",
        "AWS_ACCESS_KEY_ID": state.access_key,
        "AWS_SECRET_ACCESS_KEY": state.secret_key,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }


def all_services(folder: Path, state: State) -> dict[str, Service]:
    """Every service by name, in an order in which they can start one after the other."""
    services = [_postgres(state), _s3(folder, state), _prefect(folder, state)]
    services += [_mlflow(folder, state), *(_worker(folder, state, pool) for pool in POOLS)]
    return {service.name: service for service in services}


def _postgres(state: State) -> Service:
    port, tables = state.ports["postgres"], Path(state.database_folder)

    def command() -> Command:
        settings = {"listen_addresses": HOST, "port": port, "unix_socket_directories": ""}
        # Prefect and MLflow each keep a pool of connections, in every process of theirs.
        settings |= {"max_connections": 200}
        return Command(
            arguments=[
                str(postgres.find_programs() / "postgres"),
                *("-D", str(tables)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            environment=_environment({}),
            folder=tables,
            user=postgres.runs_as(),
            ending=SIGINT,  # its fast shutdown: open sessions are ended, nothing is lost
            owns_folder=True,  # it writes its title over the environment, mark and all
        )

    return Service(
        name="postgres",
        needs=(),
        address=f"postgresql://{HOST}:{port}",
        prepare=lambda: postgres.create_cluster(
            postgres.find_programs(), tables, state.database_password
        ),
        command=command,
        ready=lambda _: postgres.serves_databases(port, state.database_password),
    )


def _s3(folder: Path, state: State) -> Service:
    ports, home = state.ports, folder / "s3"

    def command() -> Command:
        options: dict[str, object] = {
            "dir": home / "objects",
            "ip": HOST,
            "ip.bind": HOST,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 256,
            "master.electionTimeout": "1s",  # one master has nobody to wait for
            "volume.max": 0,  # as many as the disk has room for
            "volume.preStopSeconds": 0,
            "filer": "true",
            "s3": "true",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            # Beside its own folder, so that two stacks do not share them under /tmp.
            "filer.localSocket": "filer.sock",
            "s3.localSocket": "s3.sock",
        }
        for server in ("master", "volume", "filer", "s3"):
            prefix = "s3" if server == "s3" else f"s3_{server}"
            options[f"{server}.port"] = ports[prefix]
            options[f"{server}.port.grpc"] = ports[f"{prefix}_grpc"]
        return Command(
            arguments=[
                str(_program("weed")),
                "-logtostderr",
                "server",
                *(f"-{name}={value}" for name, value in options.items()),
            ],
            environment=_environment(_object_store_environment(state)),
            folder=home,
            # All in one process, its own graceful stop waits for its own streams until it is killed
            # (4.48). What it acknowledged is with the system by then, and survives the kill.
            ending=SIGKILL,
        )

    return Service(
        name="s3",
        needs=(),
        address=f"http://{HOST}:{ports['s3']}",
        prepare=lambda: (home / "objects").mkdir(parents=True, exist_ok=True),
        command=command,
        ready=lambda _: _keeps_objects(state),
    )


def _keeps_objects(state: State) -> bool:
    """Whether the S3 server takes our credentials and an object; the bucket is made if it is missing.

    It answers before it has found its own volumes, and refuses objects until then.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=f"http://{HOST}:{state.ports['s3']}",
        aws_access_key_id=state.access_key,
        aws_secret_access_key=state.secret_key,
        region_name=REGION,
        config=Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 1}),
    )
    try:
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
    except (BotoCoreError, ClientError):
        return False
    return True


def _prefect(folder: Path, state: State) -> Service:
    port, home = state.ports["prefect"], folder / "prefect-server"

    def command() -> Command:
        database = _database_url("postgresql+asyncpg", state, "prefect")
        return Command(
            arguments=[
                str(_program("prefect")),
                *("server", "start", "--host", HOST, "--port", str(port)),
            ],
            environment=_environment(
                {
                    "PREFECT_HOME": str(home),
                    "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
                    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                    "PREFECT_SERVER_METRICS_ENABLED": "true",
                    # The pages ask for runs at this address, which is 4200 unless said.
                    "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
                }
            ),
            folder=home,
        )

    return Service(
        name="prefect",
        needs=("postgres",),
        address=f"http://{HOST}:{port}",
        prepare=lambda: home.mkdir(parents=True, exist_ok=True),
        command=command,
        ready=lambda _: _says_ok(port, "/api/health"),
    )


def _mlflow(folder: Path, state: State) -> Service:
    port, home = state.ports["mlflow"], folder / "mlflow"

    def command() -> Command:
        return Command(
            arguments=[
                str(_program("mlflow")),
                *("server", "--host", HOST, "--port", str(port), "--workers", "1"),
                *("--serve-artifacts", "--artifacts-destination", f"s3://{BUCKET}/artifacts"),
            ],
            environment=_environment(
                {
                    "MLFLOW_BACKEND_STORE_URI": _database_url(
                        "postgresql+psycopg2", state, "mlflow"
                    ),
                    "MLFLOW_S3_ENDPOINT_URL": f"http://{HOST}:{state.ports['s3']}",
                    "MLFLOW_EXPOSE_PROMETHEUS": str(home / "metrics"),
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    # Four more processes for evaluation jobs, which nobody here submits.
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    **_object_store_environment(state),
                }
            ),
            folder=home,
        )

    return Service(
        name="mlflow",
        needs=("postgres",),
        address=f"http://{HOST}:{port}",
        prepare=lambda: home.mkdir(parents=True, exist_ok=True),
        command=command,
        ready=lambda _: _says_ok(port, "/health"),
    )


def _worker(folder: Path, state: State, pool: str) -> Service:
    home, name = folder / f"worker-{pool}", f"{pool}-{state.name}"

    def command() -> Command:
        return Command(
            arguments=[
                str(_program("prefect")),
                *("worker", "start", "--type", "process", "--pool", pool, "--name", name),
                *("--limit", str(POOLS[pool])),
            ],
            environment=_environment(
                {
                    **client_environment(state),
                    "PREFECT_HOME": str(home),
                    # Prefect keeps runs in a folder of this one that its first user owns.
                    "TMPDIR": str(home / "tmp"),
                    # Its log is a file here, which is where an operator looks for a run's lines.
                    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
                    "PREFECT_WORKER_QUERY_SECONDS": "2",
                    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
                }
            ),
            folder=home,
        )

    return Service(
        name=f"worker-{pool}",
        needs=("prefect",),
        address=f"pool {pool}",
        prepare=lambda: (home / "tmp").mkdir(parents=True, exist_ok=True),
        command=command,
        ready=lambda process: _polls(state.ports["prefect"], pool, name, process),
    )


def _polls(port: int, pool: str, name: str, process: Recorded) -> bool:
    """Whether the server has heard from this process of the worker, not from one before it."""
    status, body = _ask(port, "POST", f"/api/work_pools/{pool}/workers/filter", {})
    if status != http.client.OK:
        return False
    beats = [worker["last_heartbeat_time"] for worker in body if worker["name"] == name]
    return any(_timestamp(beat) >= process.started for beat in beats if beat)


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _says_ok(port: int, path: str) -> bool:
    return _ask(port, "GET", path)[0] == http.client.OK


def _ask(
    port: int, method: str, path: str, body: Mapping[str, object] | None = None
) -> tuple[int, Any]:
    """Status and JSON (or nothing) of one request; status 0 where nobody answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    headers = {"Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    return response.status, json.loads(text) if text.startswith((b"[", b"{")) else None


def _database_url(driver: str, state: State, database: str) -> str:
    account = f"{postgres.USER}:{state.database_password}"
    return f"{driver}://{account}@{HOST}:{state.ports['postgres']}/{database}"


def _environment(values: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    telemetry_off = {"DO_NOT_TRACK": "1", "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false"}
    # Unbuffered, so that a log holds the last words of a killed service.
    return {**kept, **telemetry_off, "PYTHONUNBUFFERED": "1", **values}


def _program(name: str) -> Path:
    """A program of this very environment, whatever PATH says."""
    program = Path(sys.executable).parent / name
    if not shutil.which(program):
        raise StackError(
            f"{program} is missing. Install the development extra: pip install -e '.[dev]' (make install)."
        )
    return program
