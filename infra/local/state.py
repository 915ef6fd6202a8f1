"""What a stack keeps between commands: its ports and credentials, chosen once."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local import postgres
from infra.local.errors import StackError
from infra.local.ports import free_ports, is_free

PORT_NAMES = (
    "postgres",
    "prefect",
    "mlflow",
    "s3",
    # SeaweedFS is four servers in one process, each with a port for gRPC beside it.
    "s3_grpc",
    "s3_master",
    "s3_master_grpc",
    "s3_volume",
    "s3_volume_grpc",
    "s3_filer",
    "s3_filer_grpc",
)
DEFAULT_PORTS = {"postgres": 5432, "prefect": 4200, "mlflow": 5000, "s3": 8333}
"""Those that people type; the others are free ones in any case."""


@dataclass(frozen=True)
class State:
    """Ports by name, the credentials, and where the tables live."""

    name: str
    """Tells this stack's processes from another's."""
    ports: dict[str, int]
    database_password: str
    access_key: str
    secret_key: str
    database_folder: str


def load_or_create(folder: Path, *, default_ports: bool) -> State:
    """The state of the stack in `folder`, made on the first call.

    Raises:
        StackError: a default port is taken.
    """
    path = folder / "stack.json"
    try:
        return State(**json.loads(path.read_text()))
    except FileNotFoundError:
        return _create(path, default_ports=default_ports)


def _create(path: Path, *, default_ports: bool) -> State:
    ports = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True))
    if default_ports:
        _require_free(DEFAULT_PORTS)
        ports |= DEFAULT_PORTS
    state = State(
        name=secrets.token_hex(8),
        ports=ports,
        database_password=secrets.token_hex(24),
        access_key=secrets.token_hex(10),
        secret_key=secrets.token_hex(24),
        database_folder=str(postgres.choose_folder(path.parent)),
    )
    write_secret(path, json.dumps(asdict(state), indent=2))
    return state


def _require_free(ports: dict[str, int]) -> None:
    taken = [f"{name} {port}" for name, port in ports.items() if not is_free(port)]
    if taken:
        raise StackError(
            f"In use on 127.0.0.1: {', '.join(taken)}. Stop what listens there, or start with --ports free."
        )


def write_secret(path: Path, text: str) -> None:
    """Write `text` so that only its owner ever reads it, and nobody half of it."""
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)
