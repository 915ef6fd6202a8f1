"""Ranges of days: adapted to in order, only ingested, or replayed under another policy."""

from typing import Annotated

import typer

from flows.cli_options import (
    DEFAULT_CONFIG,
    MOST_DAYS,
    AsJson,
    ConfigFile,
    FirstDay,
    Force,
    LastDay,
    Overrides,
    PipelineName,
    Replay,
    ReplayName,
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
    replay: Replay = False,
    overrides: Overrides = None,
    name: ReplayName = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Adapt PIPELINE to a range of days, in order; complete days are skipped."""
    from flows.cli_replay import refuse_replay_options, run_replay, show_plans
    from flows.runs import plan_range, run_range

    if first > last:
        raise ConfigError(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}; swap them.")
    if (last - first).days >= MOST_DAYS:
        raise ConfigError(
            f"--from {first:%Y-%m-%d} --to {last:%Y-%m-%d} are {(last - first).days + 1:,} days, and "
            f"a range has at most {MOST_DAYS:,}. Check the years, or ask for fewer."
        )
    path, span = config.resolve(), (first.date(), last.date())
    if replay:
        if force or days_only_ingest or parallel:
            raise ConfigError(
                "--force, --days-only-ingest and --parallel are for real days, and --replay changes "
                "none: leave one or the other out."
            )
        run_replay(path, pipeline, *span, overrides or [], name, dry_run=dry_run, as_json=as_json)
        return
    refuse_replay_options(overrides, name)
    if dry_run:
        plans = plan_range(path, pipeline, *span, force=force, only_ingest=days_only_ingest)
        show_plans(pipeline, plans, as_json)
        return
    records = run_range(
        path, pipeline, *span, force=force, only_ingest=days_only_ingest, parallel=parallel
    )
    show_records(records, as_json, document={"pipeline": pipeline, "days": records})
    show_repairs(path, pipeline, records)
