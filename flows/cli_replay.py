"""`dayspring backfill --replay`: what it prints."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flows.cli_options import print_json
from tasks.errors import ConfigError

if TYPE_CHECKING:
    from tasks.plan import DayPlan


def run_replay(
    config: Path,
    pipeline: str,
    first: date,
    last: date,
    overrides: Sequence[str],
    name: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run the replay and show the comparison, or only say what would run."""
    from flows.runs import plan_replay, replay_range

    if dry_run:
        _, plans = plan_replay(config, pipeline, first, last, overrides=overrides, name=name)
        show_plans(pipeline, plans, as_json)
        return
    document = replay_range(config, pipeline, first, last, overrides=overrides, name=name)
    if as_json:
        print_json(document)
        return
    from tasks.report.comparison import comparison_lines

    for line in comparison_lines(document):
        typer.echo(line)
    typer.echo(f"page:  {document['page']}")


def refuse_replay_options(overrides: Sequence[str] | None, name: str | None) -> None:
    """A policy given for one run would be lost on the next: only a replay takes one.

    Raises:
        ConfigError: there is a policy or a name, and no replay.
    """
    given = [f"--set {text}" for text in overrides or []]
    given += [f"--name {name}"] if name is not None else []
    if given:
        raise ConfigError(
            f"{', '.join(given)}: only for a replay. Add --replay, or change pipelines.yaml."
        )


def show_plans(pipeline: str, plans: "Sequence[DayPlan]", as_json: bool) -> None:
    """What would run, and why."""
    if as_json:
        print_json({"pipeline": pipeline, "days": [plan.to_json() for plan in plans]})
        return
    for plan in plans:
        typer.echo(f"{plan.day}  {plan.action:<8}  {plan.reason}")
