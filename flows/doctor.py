"""What `dayspring doctor` does: every check, side by side, and the safe repairs."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.runs import chosen
from tasks.check_pipeline import pipeline_checks
from tasks.config import Config
from tasks.config_file import load_config
from tasks.errors import PipelineError
from tasks.health import machine
from tasks.health.finding import Check, Finding, run_checks
from tasks.records import newest_closed
from tasks.workspace import Workspace

MACHINE = "this machine"
"""Whose findings belong to no pipeline."""

TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and what was repaired."""

    findings: dict[str, list[Finding]]
    """By pipeline; those of the machine first."""
    repaired: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing but notes is left."""
        return all(one.severity == "note" for found in self.findings.values() for one in found)

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            "healthy": self.healthy,
            "repaired": list(self.repaired),
            "findings": {
                name: [one.to_json() for one in found] for name, found in self.findings.items()
            },
        }


def diagnose(
    config_file: Path, pipeline: str | None, *, fix: bool, timeout_seconds: float = TIMEOUT_SECONDS
) -> Diagnosis:
    """Look at everything; with `fix`, repair what is safe to repair and look again."""
    config = load_config(config_file)
    workspaces = chosen(config_file, pipeline)
    found = _look(config, workspaces, timeout_seconds)
    if not fix:
        return Diagnosis(found, ())
    repaired = [_repair(one) for of_one in found.values() for one in of_one if one.fix is not None]
    if not repaired:
        return Diagnosis(found, ())
    return Diagnosis(_look(config, workspaces, timeout_seconds), tuple(repaired))


def _look(
    config: Config, workspaces: list[Workspace], timeout_seconds: float
) -> dict[str, list[Finding]]:
    groups = {MACHINE: list(_machine_checks(config, workspaces))}
    for workspace in workspaces:
        groups[workspace.name] = [*pipeline_checks(workspace), *_prefect_checks(workspace)]
    # One after the other: a check costs less than the threads that wait for each other.
    return {
        name: run_checks(each, timeout_seconds=timeout_seconds) for name, each in groups.items()
    }


def _machine_checks(config: Config, workspaces: list[Workspace]) -> Iterator[Check]:
    home = workspaces[0].home
    pools = any(workspace.config.compute.pool for workspace in workspaces)
    yield Check("python", machine.check_python)
    yield Check("packages", machine.check_packages)
    yield Check(
        "packages", lambda: machine.check_lock(Path(__file__).parents[1] / "requirements.lock")
    )
    yield Check("home", lambda: machine.check_home(home))
    yield Check(
        "variables",
        lambda: machine.check_variables(
            os.environ, lake=config.services.lake, registry=config.services.registry, pools=pools
        ),
    )
    yield Check(
        "disk", lambda: machine.check_disk(home, bytes_per_day=_bytes_per_day(home, workspaces))
    )
    if os.environ.get("PREFECT_API_URL"):
        from flows.check_prefect import check_server

        yield Check("prefect", check_server)


def _prefect_checks(workspace: Workspace) -> list[Check]:
    if not os.environ.get("PREFECT_API_URL"):
        return []
    from flows.check_prefect import check_runs

    return [Check("prefect", lambda: check_runs(workspace))]


def _bytes_per_day(home: Path, workspaces: list[Workspace]) -> float | None:
    """All that lies under home, spread over the complete days of all pipelines."""
    days = sum(len(newest_closed(workspace)) for workspace in workspaces)
    return machine.size_of(home) / days if days else None


def _repair(finding: Finding) -> str:
    assert finding.fix is not None
    try:
        return finding.fix()
    except PipelineError as error:
        return f"could not be repaired ({finding.check}): {error}"
