"""Which models learned from rows that were replaced, by the journal alone."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portal import DAYS, write_config

from tasks.references import Published
from tasks.registry.journal import Outcome
from tasks.superseded import superseded_models
from tasks.workspace import Workspace, open_workspace

FIRST, SECOND, THIRD = DAYS


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(write_config(tmp_path, tmp_path / "logs"), "portal")


def publication(day: date, revision: int, attempt: int, interactions: int) -> Published:
    counts = dict.fromkeys(("rows_read", "published", "quarantined", "duplicates", "late"), 0)
    versions = {"interactions": interactions, "items": 1, "item_hours": 1}
    return Published(
        day=day,
        revision=revision,
        attempt=attempt,
        quarantine_reasons={},
        **counts,
        **versions,
    )


def record(
    workspace: Workspace, key: str, event: str, day: date, evidence: Any, version: str | None = None
) -> None:
    outcome = Outcome("told", day=day, model_version=version, evidence=evidence)
    workspace.journal.once(key, event, lambda: outcome)


def publish(workspace: Workspace, day: date, version: int, revision: int = 1, attempt: int = 0):
    made = publication(day, revision, attempt, version)
    evidence = {**made.model_dump(mode="json"), "source_digest": f"{version}"}
    record(workspace, made.key(f"published/{version}"), "published", day, evidence)
    return made


def train(workspace: Workspace, made: Published, first: date, version: str) -> None:
    span = {
        "trained_from": f"{first}T01:00:00+00:00",
        "trained_through": f"{made.day}T12:00:00+00:00",
    }
    record(workspace, made.key("trained"), "trained", made.day, span, version)


def test_a_version_that_read_the_day_before_its_correction_is_superseded(workspace):
    publish(workspace, FIRST, 1)
    train(workspace, publish(workspace, SECOND, 2), FIRST, "1")
    assert superseded_models(workspace) == []
    publish(workspace, FIRST, 3, revision=2)
    (found,) = superseded_models(workspace)
    assert (found.version, found.day, found.learned_from, found.revision) == ("1", FIRST, 1, 2)
    assert superseded_models(workspace, SECOND) == []


def test_a_version_whose_window_is_elsewhere_is_not(workspace):
    publish(workspace, FIRST, 1)
    train(workspace, publish(workspace, THIRD, 2), SECOND, "1")
    publish(workspace, FIRST, 3, revision=2)
    assert superseded_models(workspace) == []


def test_the_repair_by_force_is_trained_on_the_present_rows(workspace):
    """The second attempt at an unchanged day reads the corrected one: only v1 saw its old rows."""
    publish(workspace, FIRST, 1)
    train(workspace, publish(workspace, SECOND, 2), FIRST, "1")
    publish(workspace, FIRST, 3, revision=2)
    train(workspace, publish(workspace, SECOND, 3, attempt=1), FIRST, "2")
    assert [found.version for found in superseded_models(workspace)] == ["1"]
