"""The probe on published days, with a real champion: what it reads, what it answers, what it leaves."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from portal import DAYS, write_config
from published import publish_days
from versions import crown

from tasks import probe as stage
from tasks.models import load
from tasks.probe import probe_rows, run_probe
from tasks.recommender.hybrid import zero_shot
from tasks.recommender.shots import count_impressions
from tasks.recommender.store import save_ranker
from tasks.references import Published
from tasks.training_rows import training_rows
from tasks.trigger.rules import Probe
from tasks.workspace import Workspace, open_workspace

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FEW = {"shots": 64, "window_days": 3, "adapter_epochs": 0, "replay_share": 0.4}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, portal_logs: Path, warm_home: Path) -> Workspace:
    """Two days are published; version 1 learned nothing, through noon of the first, and is live."""
    folder = tmp_path_factory.mktemp("probed")
    config = write_config(folder, portal_logs, home=warm_home, finetune=FEW)
    workspace = open_workspace(config, "portal")
    save_ranker(zero_shot("all-MiniLM-L6-v2"), folder / "ranker")
    made = workspace.registry.register(
        folder / "ranker",
        fingerprint="untrained",
        loader_module="tasks.recommender.pyfunc",
        tags={"trained_from": NOON.isoformat(), "trained_through": NOON.isoformat()},
        params={},
        metrics={},
    )
    crown(workspace, made.version, over=None)
    return workspace


@pytest.fixture(scope="module")
def published(workspace: Workspace) -> Published:
    return publish_days(workspace, DAYS[:2])[-1]


def impressions(rows: pa.Table) -> set[str]:
    return set(rows["impression_id"].to_pylist())


def test_shots_are_those_that_the_champion_has_not_seen_and_later_ones_judge(workspace, published):
    rows = probe_rows(workspace, published, "1", shots=100)
    assert count_impressions(rows.shots) == 100
    assert pc.min(rows.shots["event_time"]).as_py() > NOON
    of_day_before = pc.less(pc.cast(rows.shots["event_time"], pa.date32()), DAYS[1])
    assert 0 < pc.sum(of_day_before).as_py() < len(rows.shots)
    latest = pc.max(rows.shots["event_time"]).as_py()
    assert latest < pc.min(rows.judges["event_time"]).as_py()


def test_the_gates_holdout_is_neither_learned_from_nor_judged_by(workspace, published):
    rows = probe_rows(workspace, published, "1", shots=10_000)
    holdout_from = training_rows(workspace, published, load(workspace, None)).holdout_from
    for part in (rows.shots, rows.judges):
        assert pc.max(part["event_time"]).as_py() < holdout_from


def test_a_champion_that_knows_nothing_would_gain_and_the_cost_is_told(workspace, published):
    found = run_probe(workspace, published, "1", Probe(shots=400))
    assert (found.rule, found.spoke) == ("probe 400", True)
    assert found.words.startswith("a probe of 400 shots gains +0.")
    assert found.words.endswith("impressions")
    assert found.seconds > 0


def test_the_surer_it_has_to_be_the_lower_is_the_bound(workspace, published):
    found = run_probe(workspace, published, "1", Probe(shots=8, confidence=0.999999))
    assert not found.spoke
    assert "impressions: no sure gain" in found.words


def test_what_was_clicked_in_the_holdout_changes_no_answer(workspace, published, monkeypatch):
    before = run_probe(workspace, published, "1", Probe(shots=64))
    holdout_from = training_rows(workspace, published, load(workspace, None)).holdout_from
    flipped = []

    def other_clicks(*args: object, **kwargs: object) -> pa.Table:
        rows = day_rows(*args, **kwargs)
        late = pc.greater_equal(rows["event_time"], holdout_from)
        flipped.append(pc.sum(late).as_py())
        label = pc.if_else(late, pc.subtract(1, rows["label"]), rows["label"])
        place = rows.column_names.index("label")
        return rows.set_column(place, "label", label.cast(rows["label"].type))

    day_rows = stage.day_rows
    monkeypatch.setattr(stage, "day_rows", other_clicks)
    after = run_probe(workspace, published, "1", Probe(shots=64))
    assert flipped[0] > 0
    assert (after.spoke, after.words) == (before.spoke, before.words)


def test_it_leaves_the_champion_the_registry_and_the_journal_as_they_were(workspace, published):
    def state() -> tuple[object, ...]:
        versions = workspace.registry.versions()
        return (load(workspace, "1").digest, len(versions), workspace.lake.version("journal"))

    before = state()
    run_probe(workspace, published, "1", Probe(shots=64))
    assert state() == before


def test_a_day_with_few_impressions_is_not_probed(workspace, published, monkeypatch):
    monkeypatch.setattr(stage, "FEWEST_JUDGES", 10_000)
    found = run_probe(workspace, published, "1", Probe())
    assert not found.spoke
    assert "impressions are too few to judge it, 10000 needed" in found.words


def test_where_another_base_is_trained_now_the_probe_starts_from_the_zero_shot_score(workspace):
    champion = load(workspace, "1")
    assert stage._start(workspace, champion) is champion
    other = replace(champion.base, name="another")
    renamed = type(champion)(replace_base(champion.encoder, other), champion.head)
    start = stage._start(workspace, renamed)
    assert start is not renamed
    assert start.base.name == "all-MiniLM-L6-v2"


def replace_base(encoder, base):
    from copy import copy

    changed = copy(encoder)
    changed.base = base
    return changed
