"""Commands that keep a running Dayspring in order."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli_options import DEFAULT_CONFIG, AnyPipeline, AsJson, ConfigFile, print_json

if TYPE_CHECKING:
    from flows.deploy import Change

app = typer.Typer()

SIGNS = {"create": "+", "change": "~", "remove": "-", "keep": "="}


@app.command()
def deploy(
    pipeline: AnyPipeline = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the difference; change nothing.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Let the Prefect server's deployments and pools be what pipelines.yaml says."""
    from flows.deploy import deploy

    def show(changes: "list[Change]") -> None:
        if not as_json:
            typer.echo("\n".join(line for change in changes for line in _lines(change)))

    changes = deploy(config.resolve(), pipeline, show=show, dry_run=dry_run)
    if as_json:
        print_json({"applied": not dry_run, "changes": [each.to_json() for each in changes]})
    else:
        typer.echo(_summary(changes, dry_run))


def _lines(change: "Change") -> list[str]:
    kind = "work pool " if change.kind == "pool" else ""
    first = f"{SIGNS[change.action]} {kind}{change.name}"
    if change.action == "create":
        values = ", ".join(f"{field}: {_shown(new)}" for field, (_, new) in change.fields.items())
        return [f"{first}  {values}"]
    differences = (
        f"    {field}: {_shown(old)} → {_shown(new)}" for field, (old, new) in change.fields.items()
    )
    return [first, *differences]


def _shown(value: Any) -> str:
    """A value on the terminal: a parameter schema has hundreds of lines."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    first, _, more = text.partition("\n")
    return f"{first[:120]}…" if more or len(first) > 120 else first


def _summary(changes: "list[Change]", dry_run: bool) -> str:
    due = [change for change in changes if change.action != "keep"]
    if not due:
        return "Nothing to do: the server has what pipelines.yaml says."
    if dry_run:
        return "Nothing was changed: --dry-run."
    pools = [change.name for change in due if change.kind == "pool"]
    workers = "".join(f"\nStart a worker: prefect worker start --pool {pool}" for pool in pools)
    return f"{len(due)} changed on the server.{workers}"
