"""Arguments, options and output that several command groups share."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

PipelineName = Annotated[str, typer.Argument(help="A pipeline of pipelines.yaml.")]
AnyPipeline = Annotated[str | None, typer.Argument(help="All pipelines by default.")]
ConfigFile = Annotated[
    Path,
    typer.Option("--config", envvar="DAYSPRING_CONFIG", help="The pipelines file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Run again what is complete already.")]
Replay = Annotated[
    bool,
    typer.Option(
        "--replay", help="Another history of the stored days; nothing of it ever goes live."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="A replay's policy, such as finetune.shots=512; may be repeated.",
    ),
]
ReplayName = Annotated[
    str | None, typer.Option("--name", help="The replay's; made of its policy by default.")
]
DATE: dict[str, Any] = {"formats": ["%Y-%m-%d"], "metavar": "YYYY-MM-DD"}
FirstDay = Annotated[datetime, typer.Option("--from", help="First day.", **DATE)]
LastDay = Annotated[datetime, typer.Option("--to", help="Last day, included.", **DATE)]

DEFAULT_CONFIG = Path("pipelines.yaml")

MOST_DAYS = 3660
"""Ten years: a longer range is a mistyped one."""


def print_json(document: Any) -> None:
    """Write one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def show_records(records: list[dict[str, Any]], as_json: bool, document: Any) -> None:
    """Print the days' table and where the last page is; with `as_json` the document alone."""
    if as_json:
        print_json(document)
        return
    print_table(records)
    pages = [record["report"] for record in records if "report" in record]
    if pages:
        typer.echo(f"report: {pages[-1]}\nlook:   dayspring ui")


def print_table(records: Sequence[dict[str, Any]]) -> None:
    """Print a line a day: wide and coloured on a terminal, plain in files and pipes."""
    from rich.console import Console

    from tasks.report.terminal import plain_lines, summary_table

    console = Console()
    if console.is_terminal:
        console.print(summary_table(records))
        return
    for line in plain_lines(records):
        typer.echo(line)


def show_repairs(config: Path, pipeline: str, records: Sequence[dict[str, Any]]) -> None:
    """Say on stderr which models a corrected day has outdated, and what would repair it."""
    if any(record.get("superseded") for record in records):
        from flows.runs import repairs

        for line in repairs(config, pipeline, records):
            typer.echo(line, err=True)
