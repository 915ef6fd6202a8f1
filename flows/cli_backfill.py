"""Ranges of days: adapted to in order, only ingested, or replayed under another policy."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli_options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    FirstDay,
    Force,
    LastDay,
    PipelineName,
    print_json,
    show_records,
    show_repairs,
)
from tasks.errors import ConfigError

app = typer.Typer()


@app.command()
def backfill(
    pipeline: PipelineName,
    first: FirstDay,
    last: LastDay,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and why; run nothing.")
    ] = False,
    force: Force = False,
    parallel: Annotated[
        int, typer.Option(min=0, max=16, help="Days whose logs are read ahead of their turn.")
    ] = 0,
    days_only_ingest: Annotated[
        bool, typer.Option("--days-only-ingest", help="Publish the days; adapt to none.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Adapt PIPELINE to a range of days, in order; complete days are skipped."""
    if first > last:
        raise ConfigError(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}; swap them.")
    path, span = config.resolve(), (first.date(), last.date())
    from flows.runs import plan_range, run_range

    if dry_run:
        plans = plan_range(path, pipeline, *span, force=force, only_ingest=days_only_ingest)
        _show_plans(pipeline, plans, as_json)
        return
    records = run_range(
        path, pipeline, *span, force=force, only_ingest=days_only_ingest, parallel=parallel
    )
    show_records(records, as_json, document={"pipeline": pipeline, "days": records})
    show_repairs(path, pipeline, records)


def _show_plans(pipeline: str, plans: list[Any], as_json: bool) -> None:
    if as_json:
        print_json({"pipeline": pipeline, "days": [plan.to_json() for plan in plans]})
        return
    for plan in plans:
        typer.echo(f"{plan.day}  {plan.action:<8}  {plan.reason}")
