"""The commands of review: who decides about a version, and puts an earlier one back."""

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_options import (
    DEFAULT_CONFIG,
    AnyPipeline,
    AsJson,
    ConfigFile,
    PipelineName,
    print_json,
)
from tasks.errors import ConfigError

if TYPE_CHECKING:
    from tasks.cards import Card
    from tasks.registry.version import Review
    from tasks.review import Decided
    from tasks.workspace import Workspace

app = typer.Typer()

Version = Annotated[str, typer.Argument(help="Number of a version, such as 3 or v3.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; the journal and MLflow keep it.")]
Actor = Annotated[
    str | None,
    typer.Option("--actor", envvar="DAYSPRING_ACTOR", help="Who decides; you, by default."),
]


@app.command()
def review(
    pipeline: AnyPipeline = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also versions that no person was asked about.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Show a card of each version that waits, or that a person decided about; newest first."""
    from flows.runs import chosen
    from tasks.cards import cards
    from tasks.report.card import card_lines

    workspaces = chosen(config.resolve(), pipeline)
    found = [card for each in workspaces for card in cards(each, everything=everything)]
    if as_json:
        print_json({"versions": found})
        return
    for card in found:
        typer.echo("\n".join([*card_lines(card), ""]))
    waiting = [card for card in found if card["review"]["state"] == "waiting"]
    typer.echo(f"{len(waiting)} waiting" + _how_to_decide(waiting))


@app.command()
def approve(
    pipeline: PipelineName,
    version: Version,
    reason: Reason,
    actor: Actor = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Promote VERSION, which waits, if the champion is still the one it was compared with."""
    from tasks.review import approve, follow_up, version_number

    number = version_number(version)
    workspace = _decide(
        config, pipeline, actor, reason, as_json, lambda w, r: approve(w, number, r)
    )
    follow_up(workspace)


@app.command()
def promote(
    pipeline: PipelineName,
    version: Version,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it whatever the gate said.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", help="Why; needed with --force, and kept.")
    ] = "",
    actor: Actor = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Say what the gate said of VERSION; with --force, put it in service all the same.

    Without --force nothing is changed, and the exit code is 1 unless VERSION is live.
    """
    from tasks.review import follow_up, gate_said, version_number
    from tasks.review import force as put_live
    from tasks.workspace import open_workspace

    number = version_number(version)
    if force:
        follow_up(
            _decide(config, pipeline, actor, reason, as_json, lambda w, r: put_live(w, number, r))
        )
        return
    found = gate_said(open_workspace(config.resolve(), pipeline), number)
    if as_json:
        print_json(found.to_json())
    else:
        typer.echo(found.words)
    raise typer.Exit(0 if found.is_live else 1)


@app.command()
def reject(
    pipeline: PipelineName,
    version: Version,
    reason: Reason,
    actor: Actor = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Let VERSION, which waits, wait no longer; the champion stays."""
    from tasks.review import reject, version_number

    number = version_number(version)
    _decide(config, pipeline, actor, reason, as_json, lambda w, r: reject(w, number, r))


@app.command()
def rollback(
    pipeline: PipelineName,
    reason: Reason,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="A version that was live, or zero-shot; the one before by default."
        ),
    ] = None,
    actor: Actor = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Put an earlier champion back in service, at once."""
    from tasks.review import follow_up, roll_back, version_number

    target = version_number(to) if to not in (None, "zero-shot") else to
    workspace = _decide(
        config, pipeline, actor, reason, as_json, lambda w, r: roll_back(w, target, r)
    )
    follow_up(workspace)


def _how_to_decide(waiting: "list[Card]") -> str:
    if not waiting:
        return ""
    one = f"{waiting[0]['pipeline']} {waiting[0]['version']} --reason TEXT"
    return f"; decide: dayspring approve {one}, or dayspring reject {one}"


def _decide(
    config: Path,
    pipeline: str,
    actor: str | None,
    reason: str,
    as_json: bool,
    decide: "Callable[[Workspace, Review], Decided]",
) -> "Workspace":
    """Carry the decision out and say so."""
    from tasks.review import review_of
    from tasks.workspace import open_workspace

    review = review_of(_actor(actor), reason)
    workspace = open_workspace(config.resolve(), pipeline)
    decided = decide(workspace, review)
    if as_json:
        print_json(decided.to_json())
    else:
        typer.echo(decided.words)
    return workspace


def _actor(given: str | None) -> str:
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigError(
            "This machine has no name for you, and the journal records who decides; give one with "
            "--actor or DAYSPRING_ACTOR."
        ) from None
