#!/usr/bin/env python3
"""Turns `dayspring status --json` into a file for the node exporter's textfile collector.

    dayspring status --json | infra/monitoring/textfile.py --output /var/lib/node_exporter/dayspring.prom

Only what every Python brings is used: it runs beside the node exporter. When `dayspring status`
fails, nothing is written, and the alert on the file's age speaks.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Pipeline = dict[str, Any]


def _champion_age(pipeline: Pipeline, now: datetime) -> float | None:
    since = pipeline["champion_since"]
    return (now - datetime.fromisoformat(since)).total_seconds() if since else None


def _last_day(pipeline: Pipeline, now: datetime) -> float | None:
    day = pipeline["last_day"]
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() if day else None


def _newest_auc(model: str) -> Callable[[Pipeline, datetime], float | None]:
    return lambda pipeline, now: pipeline["auc"][model][-1] if pipeline["auc"] else None


METRICS: dict[str, tuple[str, Callable[[Pipeline, datetime], float | None]]] = {
    "dayspring_champion_age_seconds": ("Since when the live model is live.", _champion_age),
    "dayspring_last_complete_day_timestamp_seconds": (
        "Midnight, UTC, at which the last complete day began.",
        _last_day,
    ),
    "dayspring_prequential_auc": (
        "Impression AUC of what was live, on the last complete day that had clicks.",
        _newest_auc("champion"),
    ),
    "dayspring_zero_shot_auc": (
        "Impression AUC of the untrained start on the same day.",
        _newest_auc("zero_shot"),
    ),
    "dayspring_days_missing": (
        "Days between the first and the last complete one that are not complete.",
        lambda pipeline, now: len(pipeline["missing_days"]),
    ),
    "dayspring_days_unfinished": (
        "Days that were published but not closed.",
        lambda pipeline, now: len(pipeline["unfinished_days"]),
    ),
    "dayspring_versions_waiting": (
        "Model versions that wait for a person's approval.",
        lambda pipeline, now: len(pipeline["waiting"]),
    ),
}
"""Gauges by name: what they say, and their value for one pipeline, None where there is none yet."""


def render(pipelines: Sequence[Pipeline], now: datetime) -> str:
    """The gauges of every pipeline in Prometheus' text format."""
    lines: list[str] = []
    for name, (words, value_of) in METRICS.items():
        lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
        for pipeline in pipelines:
            value = value_of(pipeline, now)
            if value is not None:
                lines.append(f'{name}{{pipeline="{pipeline["pipeline"]}"}} {value}')
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the status from standard input and write the file in one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="a file ending in .prom")
    output: Path = parser.parse_args().output
    text = sys.stdin.read()
    if not text.strip():
        sys.exit(
            "No status on standard input; run `dayspring status --json` and read what it says."
        )
    unfinished = output.with_name(f".{output.name}.tmp")
    unfinished.write_text(render(json.loads(text)["pipelines"], datetime.now(UTC)))
    unfinished.replace(output)


if __name__ == "__main__":
    main()
