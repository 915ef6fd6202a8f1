"""What retention keeps: by example, and whatever the history."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.registry.journal import Entry, Journal
from tasks.registry.registry import Registry
from tasks.registry.retention import kept_versions
from tasks.registry.store import open_client
from tasks.registry.version import REVIEW, WAITING, ModelVersion

Register = Callable[[str], ModelVersion]
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def version(number: int, review: str = "not reviewed") -> ModelVersion:
    tags = {REVIEW: review}
    return ModelVersion("dayspring.p", str(number), "run", f"f{number}", "", NOW, tags=tags)


def moved(event: str, to: str | None, at: datetime) -> Entry:
    return Entry(f"{event}/{at}", at, "p", None, event, "dayspring", "r", to, "{}")


class Told(Journal):
    """A journal whose moves are given; `ascent` is the real one."""

    def __init__(self, moves: list[Entry]) -> None:
        super().__init__("nowhere", "p")
        self.told = moves

    def moves(self) -> list[Entry]:
        return self.told


def kept(versions: list[ModelVersion], moves: list[Entry], now: datetime = NOW, **changes: object):
    settings = {"pinned": {}, "newest": 1, "rollback_days": 30} | changes
    ascent = Told(moves).ascent()
    return kept_versions(versions, ascent=ascent, moves=moves, now=now, **settings)


def test_what_is_live_waits_or_was_live_of_late_stays_with_its_reason():
    # Live: v1 from day −200, v2 from −100, v3 from −40, v4 from −20. The window is 30 days, so v3,
    # live until day −20, is in it; v2, live until day −40, is not.
    begins = {"1": 200, "2": 100, "3": 40, "4": 20}
    moves = [moved("promoted", v, NOW - timedelta(days=ago)) for v, ago in begins.items()]
    versions = [version(n) for n in range(1, 8)]
    versions[4] = version(5, WAITING)
    found = kept(versions, moves, pinned={"6": "challenger"})
    assert found == {
        "7": "one of the newest 1",
        "6": "challenger",
        "5": "waits for a review",
        "4": "live",
        "3": "live before the champion",
    }


def test_the_champion_before_stays_however_long_ago_it_was_live():
    moves = [moved("promoted", v, NOW - timedelta(days=ago)) for v, ago in (("1", 900), ("2", 800))]
    found = kept([version(n) for n in range(1, 5)], moves)
    assert set(found) == {"1", "2", "4"}


@dataclass
class Portal:
    """A registry as retention sees it, through random days, decisions and prunings."""

    newest: int
    rollback_days: int
    there: dict[str, ModelVersion] = field(default_factory=dict)
    moves: list[Entry] = field(default_factory=list)
    now: datetime = NOW
    count: int = 0

    def train(self, review: str = "not reviewed") -> str:
        self.count += 1
        self.there[str(self.count)] = version(self.count, review)
        return str(self.count)

    def go(self, event: str, to: str | None) -> None:
        self.now += timedelta(seconds=1)
        self.moves.append(moved(event, to, self.now))

    def ascent(self) -> list[str]:
        return Told(self.moves).ascent()

    def prune(self) -> None:
        found = kept(
            list(self.there.values()),
            self.moves,
            self.now,
            newest=self.newest,
            rollback_days=self.rollback_days,
        )
        self.there = {number: self.there[number] for number in found}


ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["promote", "keep", "wait", "approve", "roll back", "roll to", "to nothing"]
        ),
        st.integers(0, 40),
        st.booleans(),
    ),
    max_size=40,
)


@given(acts=ACTS, newest=st.integers(1, 3), rollback_days=st.integers(1, 60))
def test_whatever_happened_a_rollback_and_an_approval_find_their_version(
    acts, newest, rollback_days
):
    portal = Portal(newest, rollback_days)
    for act, days, prunes in acts:
        portal.now += timedelta(days=days)
        waiting = [v for v, one in portal.there.items() if one.tags[REVIEW] == WAITING]
        served = [m.model_version for m in portal.moves if m.model_version in portal.there]
        match act:
            case "promote":
                portal.go("promoted", portal.train())
            case "keep":
                portal.train()
            case "wait":
                portal.train(WAITING)
            case "approve" if waiting:
                portal.there[waiting[0]] = version(int(waiting[0]), "approved")
                portal.go("approved", waiting[0])
            case "roll back":
                target = next(iter(portal.ascent()[-2:-1]), None)
                # A second rollback in a row may lead out of the window; it is then refused.
                if target is None or target in portal.there:
                    portal.go("rolled_back", target)
            case "roll to" if served:
                portal.go("rolled_back", served[0])
            case "to nothing":
                portal.go("rolled_back", None)
        began = portal.now - timedelta(days=rollback_days)
        ends = [*(m.effective_at for m in portal.moves[1:]), portal.now]
        recent = {
            m.model_version
            for m, end in zip(portal.moves, ends, strict=False)
            if end >= began and m.model_version in portal.there
        }
        target = portal.ascent()[-2:-1]
        reachable = set(portal.ascent()[-1:]) | {v for v in target if v in portal.there} | recent
        waits = {v for v, one in portal.there.items() if one.tags[REVIEW] == WAITING}
        if prunes:
            portal.prune()
        assert reachable | waits <= set(portal.there)


def test_a_removed_version_is_gone_with_its_run_and_files(
    registry: Registry, register: Register, home: Path
):
    for name in ("f1", "f2", "f3"):
        register(name)
    run_id = registry.version("1").run_id
    client = open_client(registry.tracking_uri)
    assert registry.remove("1")
    assert [one.version for one in registry.versions()] == ["2", "3"]
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert not list((home / "mlartifacts").rglob(f"*{run_id}*"))
    assert len(list((home / "mlartifacts").rglob("MLmodel"))) == 2
    assert registry.download("2").is_dir()
    assert register("f1").version == "4"


def test_a_version_that_an_alias_stands_on_is_not_removed(registry: Registry, register: Register):
    register("f1")
    register("f2")
    open_client(registry.tracking_uri).set_registered_model_alias(registry.name, "shadow", "1")
    assert registry.aliases() == {"challenger": "2", "shadow": "1"}
    assert not registry.remove("1")
    assert not registry.remove("2")
    assert registry.download("1").is_dir()


@pytest.mark.parametrize("method", ["delete_model_version", "delete_logged_model", "delete_run"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_removal_that_is_killed_leaves_a_whole_version_or_a_leftover(
    registry: Registry, register: Register, monkeypatch, method, moment
):
    from killed_client import killed_at

    for name in ("f1", "f2"):
        register(name)
    with killed_at(monkeypatch, method, moment):
        registry.remove("1")
    if (method, moment) == ("delete_model_version", "before"):
        assert registry.download("1").is_dir()
        assert registry.remove("1")
    left = registry.leftovers()
    if (method, moment) in {("delete_run", "after"), ("delete_model_version", "before")}:
        assert left == []
        return
    assert [one.fingerprint for one in left] == ["f1"]
    assert registry.remove_leftover(left[0].run_id)
    assert registry.leftovers() == []
    assert [one.version for one in registry.versions()] == ["2"]


def test_a_run_that_became_a_version_is_no_leftover(registry: Registry, register: Register):
    made = register("f1")
    assert registry.leftovers() == []
    assert not registry.remove_leftover(made.run_id)
    assert registry.download("1").is_dir()


def test_an_empty_registry_has_nothing_to_list(tmp_path: Path):
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlartifacts", "portal")
    assert (registry.versions(), registry.aliases(), registry.leftovers()) == ([], {}, [])
    assert list(tmp_path.iterdir()) == []
