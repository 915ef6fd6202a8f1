"""Commands that tell how Dayspring is, and keep it well."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.cli_options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json

app = typer.Typer()

AnyPipeline = Annotated[str | None, typer.Argument(help="All pipelines by default.")]


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
