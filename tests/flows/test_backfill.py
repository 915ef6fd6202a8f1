"""Ranges: read ahead, only ingested, forced and interrupted, and corrected afterwards."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest
from outcomes import TABLES, assert_same_outcome
from portal import DAYS, write_config

from flows.runs import plan_range, repairs, run_range
from tasks.plan import INGESTED
from tasks.superseded import superseded_models
from tasks.workspace import Workspace, open_workspace

FIRST, SECOND, LAST = DAYS


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, portal_logs: Path) -> Path:
    """Logs of this module's own: a test corrects a file of them."""
    folder = tmp_path_factory.mktemp("logs") / "portal"
    shutil.copytree(portal_logs, folder)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, logs: Path, warm_home: Path) -> Path:
    return write_config(tmp_path_factory.mktemp("backfill"), logs, home=warm_home)


@pytest.fixture(scope="module")
def history(config: Path, prefect_server: None) -> list[dict[str, Any]]:
    """Three days adapted to, one after the other."""
    return run_range(config, "portal", FIRST, LAST, force=False)


@pytest.fixture(scope="module")
def workspace(config: Path, history: list[dict[str, Any]]) -> Workspace:
    return open_workspace(config, "portal")


def test_days_read_ahead_leave_what_days_read_in_turn_leave(
    workspace: Workspace, tmp_path: Path, logs: Path, warm_home: Path
) -> None:
    config = write_config(tmp_path, logs, home=warm_home)
    run_range(config, "portal", FIRST, LAST, force=False, parallel=2)
    ahead = open_workspace(config, "portal")
    assert_same_outcome(ahead, workspace)
    assert all(ahead.lake.read(name).num_rows for name in TABLES)
    told = [[entry.key for entry in each.journal.entries()] for each in (ahead, workspace)]
    assert told[0] == told[1]


def test_days_that_are_only_ingested_are_adapted_to_by_a_later_backfill(
    workspace: Workspace, tmp_path: Path, logs: Path, warm_home: Path
) -> None:
    config = write_config(tmp_path, logs, home=warm_home)
    records = run_range(config, "portal", FIRST, SECOND, force=False, only_ingest=True, parallel=1)
    ours = open_workspace(config, "portal")
    assert [record["verdict"] for record in records] == [INGESTED] * 2
    for record in records:
        kept = record["published"] + record["quarantined"] + record["duplicates"]
        assert record["rows_read"] == kept > 0
    assert {entry.event for entry in ours.journal.entries()} == {"published"}
    assert ours.registry.champion() is None
    again = plan_range(config, "portal", FIRST, SECOND, force=False, only_ingest=True)
    assert [plan.action for plan in again] == ["skip"] * 2
    plans = plan_range(config, "portal", FIRST, SECOND, force=False)
    assert {(plan.action, plan.reason) for plan in plans} == {
        ("continue", "published, not adapted to")
    }
    version = ours.lake.version("interactions")
    adapted = run_range(config, "portal", FIRST, SECOND, force=False)
    assert ours.lake.version("interactions") == version
    assert [r["champion_auc"] is not None for r in adapted] == [True] * 2


def test_an_interrupted_force_is_continued_by_a_plain_run(
    tmp_path: Path,
    logs: Path,
    warm_home: Path,
    prefect_server: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = write_config(tmp_path, logs, home=warm_home)
    run_range(config, "portal", FIRST, FIRST, force=False)
    with monkeypatch.context() as broken:
        broken.setattr("flows.daily.detect_drift", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_range(config, "portal", FIRST, FIRST, force=True)
    (plan,) = plan_range(config, "portal", FIRST, FIRST, force=False)
    assert (plan.action, plan.reason) == ("continue", "another attempt stopped after scored")
    run_range(config, "portal", FIRST, FIRST, force=False)
    journal = open_workspace(config, "portal").journal
    assert [entry.key.split("/")[2] for entry in journal.entries(event="closed")] == ["a0", "a1"]
    (plan,) = plan_range(config, "portal", FIRST, FIRST, force=False)
    assert plan.action == "skip"


def test_a_corrected_day_names_the_models_that_learned_from_it_and_the_repair(
    config: Path, workspace: Workspace, logs: Path
) -> None:
    """Last in this file: it corrects the logs."""
    assert superseded_models(workspace) == []
    hour = sorted((logs / "interactions" / str(DAYS[0])).glob("*.json.gz"))[0]
    lines = gzip.decompress(hour.read_bytes()).splitlines()
    hour.write_bytes(gzip.compress(b"\n".join(lines[: len(lines) // 2]) + b"\n"))

    trained = [entry.model_version for entry in workspace.journal.entries(event="trained")]
    (record,) = run_range(config, "portal", DAYS[0], DAYS[0], force=False)
    fresh = open_workspace(config, "portal")
    assert record["revision"] == 2
    found = superseded_models(fresh)
    assert [each.version for each in found] == trained != []
    assert {(each.day, each.learned_from, each.revision) for each in found} == {(DAYS[0], 1, 2)}
    assert record["superseded"] == [each.to_json() for each in found]

    told = repairs(config, "portal", [record])
    assert (
        f"v{trained[0]} learned from revision 1 of {DAYS[0]}, which revision 2 has replaced."
        in told
    )
    assert told[-2].startswith("dayspring rollback portal --to zero-shot")
    assert told[-1] == f"dayspring backfill portal --from {DAYS[0]} --to {LAST} --force"
