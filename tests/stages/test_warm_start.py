"""Which registered model a training begins with, in a real registry and journal."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from portal import DAYS, write_config
from published import publish_days
from versions import crown

from tasks.cards import card_of
from tasks.errors import ModelError
from tasks.models import load
from tasks.recommender.hybrid import zero_shot
from tasks.recommender.store import save_ranker
from tasks.references import Published, Started, Trigger
from tasks.register import register
from tasks.report.card import card_lines
from tasks.train import train
from tasks.warm_start import choose_start, load_start, started_from, words_of
from tasks.workspace import Replay, Workspace, open_workspace

DAY = DAYS[1]
LEARNT = datetime(2026, 3, 2, 12, tzinfo=UTC)
FEW = {"shots": 64, "window_days": 2, "head_epochs": 2, "adapter_epochs": 0}


@pytest.fixture
def workspace(tmp_path: Path, warm_home: Path, portal_logs: Path) -> Workspace:
    return open_workspace(
        write_config(tmp_path, portal_logs, home=warm_home, finetune=FEW), "portal"
    )


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """Another pipeline of the same registry and lake."""
    return replace(workspace, name="shop")


def set_start(workspace: Workspace, warm_start: str, **more: object) -> Workspace:
    settings = replace(workspace.config.finetune, warm_start=warm_start, **more)
    return replace(workspace, config=workspace.config.model_copy(update={"finetune": settings}))


def of_day(day: date) -> Published:
    counts = dict.fromkeys(
        ("revision", "attempt", "rows_read", "published", "quarantined", "duplicates", "late"), 1
    )
    tables = {"interactions": 1, "items": 1, "item_hours": 1}
    return Published(day=day, quarantine_reasons={}, **counts, **tables)


def add(owner: Workspace, name: str, through: datetime) -> str:
    """Register a ranker of its own that has learned through a moment."""
    folder = owner.home / name
    ranker = zero_shot("all-MiniLM-L6-v2")
    ranker.head.sharpness.data += len(name)
    save_ranker(ranker, folder)
    return owner.registry.register(
        folder,
        fingerprint=name,
        loader_module="tasks.recommender.pyfunc",
        tags={"trained_from": LEARNT.isoformat(), "trained_through": through.isoformat()},
        params={},
        metrics={},
    ).version


def chosen(workspace: Workspace) -> Started:
    start = workspace.config.finetune.start
    assert start is not None
    return choose_start(workspace, of_day(DAY), start)


def test_training_starts_from_the_champion_of_the_pipeline_that_is_named(workspace, shop):
    version = add(shop, "a", LEARNT)
    crown(shop, version, over=None)
    started = chosen(set_start(workspace, "shop@champion"))
    assert started == Started(
        pipeline="shop", version=version, sha256=shop.registry.version(version).tags["sha256"]
    )
    ranker = load_start(workspace, started)
    assert ranker.digest == load(shop, version).digest != load(workspace, None).digest


def test_a_champion_that_knows_the_day_gives_way_to_the_one_before_it(workspace, shop):
    older, newer = add(shop, "a", LEARNT), add(shop, "bb", LEARNT + timedelta(days=1))
    crown(shop, older, over=None)
    crown(shop, newer, over=older)
    assert chosen(set_start(workspace, "shop@champion")).version == older


def test_what_learned_in_the_first_moment_of_the_day_is_no_start(workspace, shop):
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    crown(shop, add(shop, "a", midnight), over=None)
    assert chosen(set_start(workspace, "shop@champion")).version is None
    crown(shop, just := add(shop, "bb", midnight - timedelta(microseconds=1)), over="1")
    assert chosen(set_start(workspace, "shop@champion")).version == just


def test_a_version_by_number_that_knows_the_day_is_refused(workspace, shop):
    early, late = add(shop, "a", LEARNT), add(shop, "bb", LEARNT + timedelta(days=1))
    assert chosen(set_start(workspace, f"shop@v{early}")).version == early
    with pytest.raises(ModelError, match=rf"shop@v{late} has learned from rows through 2026-03-03"):
        chosen(set_start(workspace, f"shop@v{late}"))


def test_a_pipeline_carries_on_its_own_champion(workspace):
    crown(workspace, version := add(workspace, "a", LEARNT), over=None)
    for written in ("champion", "portal@champion", f"portal@v{version}"):
        started = chosen(set_start(workspace, written))
        assert (started.pipeline, started.version) == ("portal", version)


def test_a_replay_carries_on_the_champion_of_its_own_history(workspace):
    real = add(workspace, "a", LEARNT)
    crown(workspace, real, over=None)
    replay = replace(workspace, name="portal-replay-x", replay=Replay("portal", "x"))
    for written in ("champion", "portal@champion"):
        assert chosen(set_start(replay, written)).version is None
    assert chosen(set_start(replay, f"portal@v{real}")).pipeline == "portal"


def test_without_a_champion_training_starts_from_the_zero_shot_score_and_says_so(workspace):
    started = chosen(set_start(workspace, "shop@champion"))
    assert started == Started(pipeline="shop", version=None, sha256=None)
    assert words_of(started) == "zero-shot: shop had no champion that knew nothing of the day"
    assert load_start(workspace, started).digest == load(workspace, None).digest


def test_a_repeat_starts_from_the_same_version_though_another_is_live_by_then(workspace, shop):
    warm = set_start(workspace, "shop@champion")
    older = add(shop, "a", LEARNT)
    crown(shop, older, over=None)
    first = started_from(warm, of_day(DAY))
    crown(shop, add(shop, "bb", LEARNT), over=older)
    assert started_from(warm, of_day(DAY)) == first
    assert first is not None and first.version == older
    assert started_from(workspace, of_day(DAY)) is None


def test_a_start_of_another_kind_or_base_names_both(workspace, shop, monkeypatch):
    started = chosen_of(shop, workspace)
    other = set_start(workspace, "shop@v1", base="other-base")
    monkeypatch.setattr(
        "tasks.recommender.base.load_base", lambda name: SimpleNamespace(sha256="another")
    )
    with pytest.raises(ModelError, match=r"shop v1, on all-MiniLM-L6-v2, .* trains on other-base"):
        load_start(other, started)
    monkeypatch.setattr("tasks.recommender.store.saved_kind", lambda folder: "cross_encoder")
    with pytest.raises(
        ModelError, match=r"shop v1, a cross_encoder ranker, .* trains a hybrid one"
    ):
        load_start(workspace, started)


def chosen_of(shop: Workspace, workspace: Workspace) -> Started:
    crown(shop, add(shop, "a", LEARNT), over=None)
    return chosen(set_start(workspace, "shop@champion"))


def test_a_trained_version_carries_its_start_as_lineage(workspace):
    first, second = publish_days(workspace, DAYS[:2])
    cold = train.fn(workspace, first)
    trigger = Trigger(retrain=True, reasons=["always"])
    one = register.fn(workspace, first, cold, trigger)
    crown(workspace, one.version, over=None)
    warm = set_start(workspace, "champion")
    trained = train.fn(warm, second)

    champion = load_start(warm, started_from(warm, second))
    assert not champion.head.untrained
    sha256 = workspace.registry.version(one.version).tags["sha256"]
    told = {"pipeline": "portal", "version": one.version, "sha256": sha256}
    assert trained.summary["warm_start"] == told and cold.summary["warm_start"] is None
    # Its first figure is that of the champion, before anything of the day was learned.
    assert trained.summary["epochs"][0]["phase"] == "start"
    two = register.fn(warm, second, trained, trigger)
    version = workspace.registry.version(two.version)
    assert f'"version": "{one.version}"' in version.tags["dayspring.warm_start"]
    assert f"version {one.version} of portal, SHA-256 {sha256}" in version.description
    entry = workspace.journal.find(second.key("trained"))
    assert entry is not None and entry.evidence["summary"]["warm_start"] == told
    card = card_of(warm, two.version)
    assert card is not None
    assert f"; started from v{one.version} of portal; base" in "\n".join(card_lines(card))


def test_every_knob_of_the_recipe_is_a_parameter_of_the_run(workspace):
    (first,) = publish_days(workspace, DAYS[:1])
    trained = train.fn(workspace, first)
    made = register.fn(workspace, first, trained, Trigger(retrain=True, reasons=["always"]))
    run = workspace.registry.version(made.version).run_id
    params = workspace.registry._client.get_run(run).data.params
    assert set(params) == set(workspace.config.finetune.flat())
    assert params["tuning.method"] == "head" and params["shots"] == "64"
    assert params["warm_start"] == params["augment.masked_lm"] == ""
