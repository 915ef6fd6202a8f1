"""Pruning on a real registry and lake: what a live or earlier champion needs can still be had."""

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
from furnish import KEPT, NOW, REMOVED, RETENTION, furnish, hours_of
from homes import keep_copy, restore
from portal import FIRST_DAY, write_config

from flows.upkeep import prune_all
from tasks.errors import LakeError, RegistryError
from tasks.models import incumbent_before, pruned_versions
from tasks.prune import EVERY_DAYS, is_due, prune, prune_weekly
from tasks.registry.journal import JOURNAL, Outcome
from tasks.registry.lease import Leases
from tasks.workspace import Workspace, open_workspace


@pytest.fixture(scope="module")
def furnished(tmp_path_factory) -> Path:
    """The six versions; the table's first states are 40 days old."""
    folder = tmp_path_factory.mktemp("furnished")
    workspace = open_workspace(write_config(folder, folder, retention=RETENTION), "portal")
    furnish(workspace, folder / "ranker", grow_old=lambda table: age(Path(table), 40))
    keep_copy(workspace.home)
    return folder


@pytest.fixture
def workspace(furnished: Path) -> Workspace:
    home = furnished / ".dayspring"
    restore(home, furnished / ".dayspring-copy")
    return open_workspace(furnished / "pipelines.yaml", "portal")


def test_champion_and_rollback_targets_load_with_the_tables_they_learned_from(workspace):
    [done] = prune_all(workspace.home.parent / "pipelines.yaml", None, dry_run=False)
    assert (done["removed_versions"], done["kept_versions"]) == (REMOVED, KEPT)
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
