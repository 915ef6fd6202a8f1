"""The command line. Heavy imports live inside the commands, so that `--help` is instant.

Exit codes: 0 done, 1 a stage failed, 2 the command or its config is wrong, 130 interrupted.
"""

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli_backfill import app as backfill_app
from flows.cli_health import app as health_app
from flows.cli_operate import app as operate_app
from flows.cli_options import (
    DATE,
    DEFAULT_CONFIG,
    MOST_DAYS,
    AsJson,
    ConfigFile,
    FirstDay,
    Force,
    PipelineName,
    show_records,
    show_repairs,
)
from flows.cli_review import app as review_app
from flows.cli_sweep import app as sweep_app
from tasks.errors import ConfigError, PipelineError

app = typer.Typer(
    name="dayspring",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keeps a language-model recommender fresh, day by day.",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at pipelines.yaml.")
app.add_typer(config_app, name="config")
app.add_typer(backfill_app)
app.add_typer(health_app)
app.add_typer(operate_app)
app.add_typer(review_app)
app.add_typer(sweep_app)


@app.command()
def run(
    pipeline: PipelineName,
    day: Annotated[datetime | None, typer.Option(help="Yesterday by default.", **DATE)] = None,
    force: Force = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Adapt PIPELINE to one day; a challenger goes live only if it beats the champion."""
    from flows.runs import run_day

    record = run_day(config.resolve(), pipeline, day.date() if day else None, force=force)
    show_records([record], as_json, document=record)
    show_repairs(config.resolve(), pipeline, [record])


@app.command()
def report(
    pipeline: PipelineName,
    day: Annotated[
        datetime | None, typer.Argument(help="The latest day by default.", **DATE)
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Print a day's report in words, and where its page is."""
    from flows.runs import find_report

    markdown, page = find_report(config.resolve(), pipeline, day.date() if day else None)
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    if console.is_terminal:
        console.print(Markdown(markdown))
    else:
        typer.echo(markdown)
    typer.echo(f"\n{page}")


@app.command()
def predict(
    pipeline: PipelineName,
    source: Annotated[
        Path, typer.Option("--input", help="Candidates: .jsonl, .csv, .tsv or .parquet.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Parquet, CSV or JSON lines by suffix; stdout by default."),
    ] = None,
    task: Annotated[
        Literal["rank", "filter"],
        typer.Option(help="Write all candidates with their rank, or only the likely clicks."),
    ] = "rank",
    threshold: Annotated[
        float | None, typer.Option(help="Least click probability that the filter keeps.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Score candidates with PIPELINE's champion: click probability, and rank in the slate."""
    from flows.runs import predict_rows

    done = predict_rows(config.resolve(), pipeline, source, output, task=task, threshold=threshold)
    kept = "" if threshold is None else f"; {done.written:,} of them kept"
    typer.echo(f"{done.scored:,} candidates scored by {done.model}{kept}", err=True)


@app.command()
def simulate(
    first: FirstDay,
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="How many days.")] = 7,
    out: Annotated[
        Path | None, typer.Option(help="The portal pipeline's place by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    rows: Annotated[int, typer.Option(min=100, help="Candidate rows a day.")] = 20_000,
    shift: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND:DAY, such as category_mix:5; may be repeated. See docs/simulator.md."
        ),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Also write every row's true click probability here.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Write a news portal's logs, whose true click probabilities are known."""
    from flows.runs import simulate_portal

    typer.echo(
        simulate_portal(
            config.resolve(),
            first.date(),
            days,
            out=out,
            seed=seed,
            rows=rows,
            shifts=shift or [],
            truth=truth,
        ),
        err=True,
    )


@app.command()
def ui(
    config: ConfigFile = DEFAULT_CONFIG,
    reports_port: Annotated[int, typer.Option(min=1, max=65535)] = 4100,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
) -> None:
    """Serve the reports, the registry (MLflow) and the runs (Prefect) on this machine."""
    from flows.ui import serve

    serve(
        config.resolve(),
        reports_port=reports_port,
        mlflow_port=mlflow_port,
        prefect_port=prefect_port,
    )


@config_app.command("check")
def check_config(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Validate pipelines.yaml: all errors at once, or a line for each pipeline."""
    from flows.runs import check

    for line in check(config.resolve()):
        typer.echo(line)


def main() -> None:
    """Run the command line; a PipelineError is a message and an exit code, never a traceback."""
    try:
        raise SystemExit(app(prog_name="dayspring", standalone_mode=False) or 0)
    except typer.TyperException as error:
        _leave(_usage(error), 2)
    except typer.Abort:
        _leave("Interrupted.", 130)
    except ConfigError as error:
        _leave(str(error), 2)
    except PipelineError as error:
        _leave(str(error), 1)
    except Exception as error:  # the last resort: a traceback helps us, not the operator
        _leave(
            f"{type(error).__name__}: {error}\nThis is a mistake of ours; {_keep_traceback()}", 1
        )


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line, what was written, and where its rules are."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "dayspring"
    said = str(getattr(error, "format_message", error.__str__)()).replace("Value error, ", "")
    written = shlex.join(["dayspring", *sys.argv[1:]])
    return (
        f"{said or 'A command is missing.'}\nYou wrote: {written}\nWhat it takes: {command} --help"
    )


def _keep_traceback() -> str:
    """Write the current traceback where the operator can send it from; says where."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="dayspring-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(traceback.format_exc())
    return f"its traceback is in {file.name}."


def _leave(message: str, code: int) -> None:
    typer.echo(f"dayspring: {message}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
