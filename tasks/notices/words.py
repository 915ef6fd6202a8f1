"""What a notice says: the pipeline, the day, what happened with its figures, and the next command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 1500
"""Characters of a body: chat services cut longer ones."""


@dataclass(frozen=True)
class Message:
    """A title of one line, and a few sentences."""

    title: str
    body: str


def failure(pipeline: str, run: str, error: str, champion: str | None, repeat: str) -> Message:
    """A run that ended by an error.

    Args:
        run: what ran, such as "daily 2026-03-05".
        champion: what stays in service, such as "v3"; None where that could not be read.
        repeat: the command that continues.
    """
    serves = f"{champion} stays in service." if champion else "The champion stays as it was."
    return _message(f"{pipeline}: {run} failed", error, serves, f"Continue with: {repeat}")


def promotion(
    pipeline: str, day: str | None, live: str, event: str, actor: str, reason: str, since: str
) -> Message:
    """Another model is live: promoted, approved, forced or rolled back to."""
    what = {
        "rolled_back": "is live again: rolled back",
        "approved": "is live: approved",
        "forced": "is live: a person put it there, whatever the gate said",
    }
    return _message(
        f"{_about(pipeline, day)}: {live} {what.get(event, 'is live: promoted')}",
        f"By {actor}: {reason}.",
        f"Live since {since}.",
        f"Look: dayspring review {pipeline}. "
        f"Take it back: dayspring rollback {pipeline} --reason TEXT",
    )


def approval(pipeline: str, day: str, version: str, reason: str) -> Message:
    """A challenger that won waits for a person."""
    return _message(
        f"{_about(pipeline, day)}: v{version} waits for approval",
        f"{reason}.",
        f"Look: dayspring review {pipeline}. Decide: dayspring approve {pipeline} {version} "
        f"--reason TEXT, or dayspring reject {pipeline} {version} --reason TEXT",
    )


def drift(pipeline: str, day: str, report: Mapping[str, Any]) -> Message:
    """Columns that moved past their thresholds."""
    moved: Sequence[Mapping[str, Any]] = [c for c in report["columns"] if c["drifted"]]
    figures = "; ".join(
        f"{c['column']} {c['value']:.3f} of {c['threshold']:g} against {_period(report, c)} ({c['words']})"
        for c in moved
    )
    return _message(
        f"{_about(pipeline, day)}: {', '.join(str(c['column']) for c in moved)} drifted",
        f"{figures}.",
        f"Look: dayspring report {pipeline} {day}",
    )


def _period(report: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """The days from which a column moved."""
    held = report.get("references", {}).get(column.get("reference"), {})
    return str(held.get("period", report["reference"]))


def _about(pipeline: str, day: str | None) -> str:
    return f"{pipeline} {day}" if day else pipeline


def _message(title: str, *lines: str) -> Message:
    *facts, command = lines
    told = "\n".join(" ".join(line.split()) for line in facts)
    room = MAX_TEXT - len(command) - 1
    return Message(title, f"{told if len(told) <= room else told[: room - 1] + '…'}\n{command}")
