"""`dayspring sweep`: better knobs for a pipeline's fine-tuning."""

from datetime import datetime
from typing import Annotated

import typer

from flows.cli_options import DATE, DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName, print_json

app = typer.Typer()


@app.command()
def sweep(
    pipeline: PipelineName,
    day: Annotated[
        datetime | None, typer.Option(help="A published day; the newest by default.", **DATE)
    ] = None,
    trials: Annotated[
        int,
        typer.Option(min=1, help="In all; the same command goes on with those that are missing."),
    ] = 30,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which no trial is begun.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Search PIPELINE's knobs of fine-tuning by a day's validation; prints the block that wins."""
    from flows.runs import sweep_day

    document = sweep_day(
        config.resolve(), pipeline, day.date() if day else None, trials=trials, seconds=timeout
    )
    if as_json:
        print_json(document)
        return
    from tasks.report.sweep import sweep_lines

    for line in sweep_lines(document):
        typer.echo(line)
