"""The command lines of `infra/local/up` and `infra/local/down`."""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from infra.local.errors import StackError
from infra.local.stack import Stack

_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class Ports(StrEnum):
    """Where the services listen."""

    DEFAULT = "default"
    FREE = "free"


def _default_folder() -> Path:
    return Path(os.environ.get("DAYSPRING_HOME", "./.dayspring")) / "local"


Folder = Annotated[
    Path,
    typer.Option(help="The stack's state and logs.", default_factory=_default_folder),
]


def _up(
    folder: Folder,
    ports: Annotated[
        Ports, typer.Option(help="Ports of a new stack: the usual ones, or any that are free.")
    ] = Ports.DEFAULT,
    only: Annotated[
        list[str] | None, typer.Option(help="A service to start, with what it needs; repeat.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="A service not to start.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One document on stdout.")] = False,
) -> None:
    """Start PostgreSQL, Prefect, MLflow, S3 and the workers; keep those that run."""
    stack = Stack(folder, default_ports=ports is Ports.DEFAULT)
    stack.up(_chosen(stack, only or [], without or []))
    if as_json:
        print(json.dumps(_described(stack), indent=2))
    else:
        _print_table(stack)


def _chosen(stack: Stack, only: list[str], without: list[str]) -> list[str]:
    unknown = [name for name in (*only, *without) if name not in stack.services]
    if unknown:
        raise StackError(
            f"{', '.join(unknown)}: no such service; there are {', '.join(stack.services)}."
        )
    return [name for name in only or stack.services if name not in without]


def _described(stack: Stack) -> dict[str, object]:
    """Addresses and process ids; the credentials stay in the file that only its owner reads."""
    running = stack.running()
    return {
        "folder": str(stack.folder),
        "env_file": str(stack.environment_file),
        "services": {
            name: {
                "address": service.address,
                "pid": running.get(name),
                "log": str(stack.log(name)),
            }
            for name, service in stack.services.items()
        },
    }


def _print_table(stack: Stack) -> None:
    running = stack.running()
    print(f"{'service':<11} {'address':<30} {'process':<11} log")
    for name, service in stack.services.items():
        process = str(running.get(name, "not started"))
        print(f"{name:<11} {service.address:<30} {process:<11} {stack.log(name)}")
    print()
    for name, value in stack.env().items():
        if name not in _SECRETS:
            print(f"export {name}={value}")
    print(f"# and {' and '.join(_SECRETS)}; all of them with:\n. {stack.environment_file}")


def _down(
    folder: Folder,
    erase: Annotated[
        bool, typer.Option(help="Delete the state too: tables, objects, logs, credentials.")
    ] = False,
) -> None:
    """Stop every service and every child of one, also those that a crash left behind."""
    stack = Stack(folder)
    if not stack.exists():
        print(f"No stack in {stack.folder}; nothing to stop.")
        return
    if erase:
        stack.erase()
    else:
        stack.down()
    print(f"Stopped{' and erased' if erase else ''}: {stack.folder}")


def run_up() -> None:
    """`infra/local/up`."""
    _run(_up)


def run_down() -> None:
    """`infra/local/down`."""
    _run(_down)


def _run(command: Callable[..., None]) -> None:
    try:
        typer.run(command)
    except StackError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
