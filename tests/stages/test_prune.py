"""Pruning on a real registry and lake: what a live or earlier champion needs can still be had."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
import pytest
from aged_tables import age
from deltalake import write_deltalake
from homes import keep_copy, restore
from portal import FIRST_DAY, write_config

from flows.upkeep import prune_all
from tasks.errors import LakeError, RegistryError
from tasks.interactions.schema import ITEM_HOURS
from tasks.models import incumbent_before, pruned_versions
from tasks.prune import EVERY_DAYS, is_due, prune, prune_weekly
from tasks.registry.journal import JOURNAL, Outcome
from tasks.registry.lease import Leases
from tasks.workspace import Workspace, open_workspace

NOW = datetime.now(UTC)
RETENTION = {"versions": 1, "rollback_days": 30, "delta_days": 30}
PROMOTED_DAYS_AGO = {"1": 200, "2": 100, "4": 20}
"""v2 was live until 20 days ago; v3 and v5 never were."""


@pytest.fixture(scope="module")
def furnished(tmp_path_factory) -> Path:
    """Six versions, each trained on its own version of item_hours; four states are 40 days old."""
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.store import save_ranker

    folder = tmp_path_factory.mktemp("furnished")
    save_ranker(zero_shot("all-MiniLM-L6-v2"), folder / "ranker")
    workspace = open_workspace(write_config(folder, folder, retention=RETENTION), "portal")
    for number in range(1, 7):
        publish(workspace, number)
        if number == 5:
            age(Path(workspace.lake.uri("item_hours")), 40)
        register(workspace, folder / "ranker", number)
        if days := PROMOTED_DAYS_AGO.get(str(number)):
            promote(workspace, str(number), NOW - timedelta(days=days))
    keep_copy(workspace.home)
    return folder


@pytest.fixture
def workspace(furnished: Path) -> Workspace:
    home = furnished / ".dayspring"
    restore(home, furnished / ".dayspring-copy")
    return open_workspace(furnished / "pipelines.yaml", "portal")


def publish(workspace: Workspace, number: int) -> None:
    hour = datetime(2026, 3, 2, 12, tzinfo=UTC)
    row = {"event_date": FIRST_DAY, "hour": hour, "item_id": "n1", "impressions": number}
    rows = pa.Table.from_pylist([{**row, "clicks": 0}], schema=ITEM_HOURS)
    lake = workspace.lake
    lake.replace_day("item_hours", FIRST_DAY, rows, app_id="hours", app_version=number)


def register(workspace: Workspace, ranker: Path, number: int) -> None:
    trained = datetime(2026, 3, number, tzinfo=UTC)
    workspace.registry.register(
        ranker,
        fingerprint=f"f{number}",
        loader_module="tasks.recommender.pyfunc",
        tags={
            "data_versions": json.dumps({"item_hours": workspace.lake.version("item_hours")}),
            "trained_through": trained.isoformat(),
        },
        params={},
        metrics={},
    )


def promote(workspace: Workspace, version: str, at: datetime) -> None:
    live = workspace.registry.champion()
    workspace.registry.promote(
        version, compared_with=live.version if live else None, reason="gain", evidence={}
    )
    moved = Outcome("gain", model_version=version, evidence={"live_since": at.isoformat()})
    workspace.journal.once(f"{version}/promoted", "promoted", lambda: moved)


def hours_of(workspace: Workspace, version: str) -> int:
    """What the version was trained on, read at the state of the table that it names."""
    tags = workspace.registry.version(version).tags
    state = json.loads(tags["data_versions"])["item_hours"]
    return workspace.lake.read("item_hours", version=state)["impressions"][0].as_py()


def test_champion_and_rollback_targets_load_with_the_tables_they_learned_from(workspace):
    [done] = prune_all(workspace.home.parent / "pipelines.yaml", None, dry_run=False)
    assert done["removed_versions"] == ["1", "3", "5"]
    assert done["kept_versions"] == {
        "6": "challenger",
        "4": "champion",
        "2": "live before the champion",
    }
    assert done["removed_files"]["item_hours"] == 2
    mlflow.set_tracking_uri(workspace.tracking_uri)
    frame = pd.DataFrame({"history": [["a goal"]], "candidates": [["a cup", "shares"]]})
    for version in done["kept_versions"]:
        model = mlflow.pyfunc.load_model(f"models:/dayspring.portal/{version}")
        assert len(model.predict(frame)[0]) == 2
        assert hours_of(workspace, version) == int(version)
    assert workspace.lake.read("item_hours", version=5)["impressions"].to_pylist() == [5]
    for version in (1, 3):
        with pytest.raises(LakeError):
            workspace.lake.read("item_hours", version=version)


def test_the_journal_names_what_went_and_nobody_asks_for_it(workspace):
    prune(workspace)
    [entry] = workspace.journal.entries(event="pruned")
    assert entry.reason == "3 model versions removed, 3 kept"
    assert pruned_versions(workspace) == {"1", "3", "5"}
    # On this day v4 knew too much, and so did v2: v1 would be asked, and is gone.
    assert incumbent_before(workspace, datetime(2026, 3, 2, tzinfo=UTC)) is None
    assert incumbent_before(workspace, datetime(2026, 3, 3, tzinfo=UTC)) == "2"


def test_a_dry_run_says_what_would_go_and_removes_nothing(workspace):
    before = [one.version for one in workspace.registry.versions()]
    done = prune(workspace, dry_run=True)
    assert (done["removed_versions"], done["removed_files"]["item_hours"]) == (["1", "3", "5"], 2)
    assert [one.version for one in workspace.registry.versions()] == before
    assert [hours_of(workspace, version) for version in before] == [1, 2, 3, 4, 5, 6]
    assert workspace.journal.entries(event="pruned") == []


def test_a_day_that_is_not_closed_keeps_its_challenger_and_its_tables(workspace):
    states = {"interactions": 0, "items": 0, "item_hours": 3}
    for event, evidence in (("published", states), ("trained", {})):
        outcome = Outcome(event, day=FIRST_DAY, model_version="3", evidence=evidence)
        workspace.journal.once(event, event, lambda outcome=outcome: outcome)
    done = prune(workspace)
    assert done["removed_versions"] == ["1", "5"]
    assert done["kept_versions"]["3"] == f"challenger of {FIRST_DAY}, which is not closed"
    assert workspace.lake.read("item_hours", version=3)["impressions"].to_pylist() == [3]


def test_pruning_waits_for_nobody_who_publishes(workspace):
    with (
        Leases(workspace.lake.root).held("run"),
        pytest.raises(RegistryError, match="run is held by"),
        # A run may hold its own lease again; a thread is not of this run.
        ThreadPoolExecutor(1) as thread,
    ):
        thread.submit(prune, workspace).result()


def test_the_daily_flow_prunes_once_a_week(workspace):
    began = workspace.journal.entries()[0].recorded_at
    assert not is_due(workspace, began + timedelta(days=EVERY_DAYS - 0.1))
    assert is_due(workspace, began + timedelta(days=EVERY_DAYS))
    prune(workspace)
    assert not is_due(workspace, began + timedelta(days=EVERY_DAYS))
    assert is_due(workspace, datetime.now(UTC) + timedelta(days=EVERY_DAYS))


def test_a_pruning_that_fails_does_not_stop_the_day(tmp_path, caplog):
    workspace = open_workspace(write_config(tmp_path, tmp_path), "portal")
    first = workspace.journal.once("k", "published", lambda: Outcome("published", day=FIRST_DAY))
    row = [asdict(replace(first, key="old", recorded_at=NOW - timedelta(days=9)))]
    rows = pa.Table.from_pylist([{**r, "evidence": r.pop("evidence_json")} for r in row], JOURNAL)
    write_deltalake(workspace.journal.uri, rows, mode="append")
    (workspace.home / "mlflow.db").write_text("no database")
    prune_weekly.fn(workspace)
    assert "failed, and is tried again tomorrow" in caplog.text
