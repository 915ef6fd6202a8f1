"""Arguments, options and output that several command groups share."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

PipelineName = Annotated[str, typer.Argument(help="A pipeline of pipelines.yaml.")]
ConfigFile = Annotated[
    Path,
    typer.Option("--config", envvar="DAYSPRING_CONFIG", help="The pipelines file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Run again what is complete already.")]
DATE: dict[str, Any] = {"formats": ["%Y-%m-%d"], "metavar": "YYYY-MM-DD"}
FirstDay = Annotated[datetime, typer.Option("--from", help="First day.", **DATE)]
LastDay = Annotated[datetime, typer.Option("--to", help="Last day, included.", **DATE)]

DEFAULT_CONFIG = Path("pipelines.yaml")


def print_json(document: Any) -> None:
    """Write one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
