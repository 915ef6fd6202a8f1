"""Commands that tell how Dayspring is, and keep it well."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_options import DEFAULT_CONFIG, AnyPipeline, AsJson, ConfigFile, print_json

if TYPE_CHECKING:
    from flows.doctor import Diagnosis

app = typer.Typer()


@app.command()
def status(
    pipeline: AnyPipeline = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Which model was live then, such as 2026-03-04T09:30."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Show who is live and since when, how the AUC moves, what waits, and the next run."""
    from flows.status import live_models, statuses

    if at is not None:
        answers = live_models(config.resolve(), pipeline, at)
        if as_json:
            print_json({"pipelines": answers})
            return
        for answer in answers:
            typer.echo(_live_words(answer))
        return
    found = statuses(config.resolve(), pipeline)
    if as_json:
        print_json({"pipelines": found})
        return
    from tasks.report.overview import overview_lines

    now = datetime.now(UTC)
    typer.echo("\n\n".join("\n".join(overview_lines(one, now)) for one in found))


def _live_words(answer: dict[str, str | None]) -> str:
    version, since = answer["champion"], answer["champion_since"]
    live = f"v{version}" if version else "zero-shot"
    when = f", {answer['event']} {since} by {answer['actor']}" if since else ""
    return f"{answer['pipeline']}: at {answer['at']} {live} was live{when}: {answer['reason']}"


@app.command()
def doctor(
    pipeline: AnyPipeline = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what is safe to repair, and say what was done.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="For each group of checks.")
    ] = 20.0,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Look for what is wrong or will be, each with the command that repairs it; 1 if any is left."""
    from flows.doctor import diagnose

    found = diagnose(config.resolve(), pipeline, fix=fix, timeout_seconds=timeout)
    if as_json:
        print_json(found.to_json())
    else:
        typer.echo("\n".join(_diagnosis_lines(found)))
    if not found.healthy:
        raise typer.Exit(1)


def _diagnosis_lines(diagnosis: "Diagnosis") -> list[str]:
    lines = [f"repaired  {what}" for what in diagnosis.repaired]
    for name, findings in diagnosis.findings.items():
        lines.append(name)
        for one in findings:
            lines.append(f"  {one.severity:<8}{one.check}: {one.words}")
            if one.command:
                lines.append(f"          → {one.command}")
    wrong = sum(one.severity != "note" for each in diagnosis.findings.values() for one in each)
    return [*lines, f"{wrong:,} findings" if wrong else "Nothing is wrong."]


@app.command()
def prune(
    pipeline: AnyPipeline = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and what stays; remove nothing.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Remove old model versions and table states that no live, waiting or earlier champion needs."""
    from flows.upkeep import prune_all
    from tasks.prune import words

    done = prune_all(config.resolve(), pipeline, dry_run=dry_run)
    if as_json:
        print_json({"pipelines": done})
        return
    for one in done:
        typer.echo(f"{one['pipeline']}: {words(one)}")
        for version, why in one["kept_versions"].items() if dry_run else ():
            typer.echo(f"  v{version} stays: {why}")
