"""What fault runs share: a backfill as a process of its own, and the account of the logs' rows."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from outcomes import differences

from tasks.simulator.simulate import DaySummary
from tasks.workspace import Workspace

STAGES = [
    "function:tasks.interactions.items:publish_items",
    "function:tasks.interactions.stage:stage_day",
    "function:tasks.quality.validate:validate_day",
    "function:tasks.interactions.publish:_publish_quarantine",
    "function:tasks.interactions.publish:_publish_interactions",
    "event:published",
    "event:scored",
    # The first days have nobody in shadow: there a run dies at the next step.
    "event:shadows|profiled",
    "event:shadowed|promoted|kept|profiled",
    "event:profiled",
    "event:triggered",
    "function:tasks.recommender.store:save_ranker",
    "event:trained",
    "function:tasks.evaluation.guardrails:check",
    "event:judged",
    "event:promoted|kept|shadowed",
    "function:tasks.report.page:render_index",
    "event:closed",
]
"""The moments of `killed_run.py` in the order of a day; after each the next run continues."""

PARSED = ("event_id", "event_time", "impression_id", "user_id", "item_id", "label")


def run(
    moment: str, config: Path, days: Sequence[date], env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Backfill `days` in a process that dies at `moment`, or never."""
    script = Path(__file__).parent / "killed_run.py"
    return subprocess.run(
        [sys.executable, str(script), moment, str(config), str(days[0]), str(days[-1])],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )


def watched(
    config: Path,
    pipeline: str,
    days: Sequence[date],
    env: Mapping[str, str],
    told: Callable[[subprocess.Popen[str], str], None],
) -> tuple[int, str]:
    """Backfill `days` and hand on each line as the run tells it; returns exit code and last words."""
    command = [sys.executable, "-m", "flows.cli", "backfill", pipeline, "--config", str(config)]
    process = subprocess.Popen(
        [*command, "--from", str(days[0]), "--to", str(days[-1])],
        env={**os.environ, **env},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        told(process, line)
    code = process.wait()
    return code, last_words(said) if code else ""


def come_through(config: Path, days: Sequence[date], env: Mapping[str, str]) -> None:
    """Backfill `days` undisturbed."""
    ended = run("never", config, days, env)
    if ended.returncode:
        raise SystemExit(f"the undisturbed run ended with {ended.returncode}: {ended.stderr}")


def last_words(stderr: str) -> str:
    """The message that a run ended with; all it said where it ended without one."""
    before, mark, message = stderr.rpartition("dayspring: ")
    return (mark + message if mark else before + message).strip()


def is_clear(message: str) -> bool:
    """Whether a run that failed ended with a message of ours, and not with a mistake of ours."""
    return message.startswith("dayspring: ") and "mistake of ours" not in message


def unlike(
    found: Workspace, expected: Workspace, logs: Path, planted: Sequence[DaySummary]
) -> list[str]:
    """In words, what is not as in `expected`, and whether a row of the logs is lost or doubled."""
    lost, doubled, unaccounted = lost_and_doubled(found, logs, planted)
    counted = [f"{lost} rows lost"] if lost else []
    counted += [f"{doubled} rows doubled"] if doubled else []
    return [*counted, *unaccounted, *differences(found, expected)]


def lost_and_doubled(
    workspace: Workspace, logs: Path, planted: Sequence[DaySummary]
) -> tuple[int, int, list[str]]:
    """Events of the logs that are not published, rows published twice, and accounts that do not add up.

    The logs are read line by line here, by none of the project's own readers.
    """
    good = {
        row["event_id"]
        for day in planted
        for row in _lines(logs / "interactions" / str(day.day))
        if _is_good(row)
    }
    published = Counter(
        workspace.lake.read("interactions", columns=["event_id"])["event_id"].to_pylist()
    )
    doubled = sum(published.values()) - len(published)
    return len(good - published.keys()), doubled, _unaccounted(workspace, planted)


def _unaccounted(workspace: Workspace, planted: Sequence[DaySummary]) -> list[str]:
    faults = []
    for day in planted:
        closed = workspace.journal.entries(day=day.day, event="published")
        counts = closed[-1].evidence if closed else {}
        expected = {
            "rows_read": day.lines,
            "quarantined": sum(day.malformed.values()),
            "duplicates": day.duplicates,
            "published": day.lines - sum(day.malformed.values()) - day.duplicates,
        }
        found = {name: counts.get(name) for name in expected}
        if found != expected:
            faults.append(f"{day.day}: {found} instead of {expected}")
    return faults


def _lines(folder: Path) -> list[dict[str, Any]]:
    texts = [
        line
        for file in sorted(folder.glob("*.json.gz"))
        for line in gzip.decompress(file.read_bytes()).decode().splitlines()
    ]
    return [row for text in texts if isinstance(row := _parsed(text), dict)]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _is_good(row: Mapping[str, Any]) -> bool:
    whole = all(row.get(name) is not None for name in PARSED)
    return whole and row["label"] in (0, 1) and str(row["event_time"]).endswith("Z")
