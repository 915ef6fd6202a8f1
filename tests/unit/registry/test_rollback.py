"""The alias moved without MLflow's client, on SQLite and on a server, as that client sees it."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from registries import child_environment, open_registry, register_in

from tasks.errors import RegistryError
from tasks.registry.lease import Leases
from tasks.registry.pointer import _authorization, _Server, pointer
from tasks.registry.registry import Registry
from tasks.registry.store import open_client
from tasks.registry.version import Review

ANA = Review("ana", "clicks fell")


@pytest.fixture(params=["sqlite", "another layout", "server", "server by client"])
def registry(request: pytest.FixtureRequest, home: Path, monkeypatch) -> Registry:
    """An empty registry, by each way that leads to its alias."""
    if "server" not in request.param:
        if request.param == "another layout":
            with closing(sqlite3.connect(home / "mlflow.db")) as database:
                database.execute("ALTER TABLE model_version_tags ADD COLUMN colour TEXT")
        return open_registry(home)
    if request.param == "server by client":
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    pipeline = "".join(c for c in request.node.name if c.isalnum())
    url = request.getfixturevalue("server")
    return Registry(url, None, pipeline, leases=Leases(str(home)))


@pytest.fixture
def two_champions(registry: Registry, ranker: Path) -> Registry:
    """Version 1 was live, version 2 is."""
    return crown_two(registry, ranker)


def crown_two(registry: Registry, ranker: Path) -> Registry:
    for fingerprint, over in (("f1", None), ("f2", "1")):
        version = register_in(registry, ranker, fingerprint).version
        registry.promote(version, compared_with=over, reason="won", evidence={"gain": 0.01})
    return registry


def test_a_rollback_moves_the_alias_and_tells_both_versions(two_champions: Registry) -> None:
    registry = two_champions
    promoted = registry.standing()[1]
    assert promoted is not None

    move = registry.roll_back("1", expected="2", review=ANA)

    assert registry.standing() == ("1", move)
    assert move.at > promoted.at
    champion = registry.champion()  # by MLflow's own client
    assert champion is not None
    assert champion.version == "1"
    assert champion.live_since == move.at
    assert champion.tags["review"] == "restored"
    taken_out = registry.version("2")
    assert (taken_out.tags["review"], taken_out.tags["review_by"]) == ("rolled back", "ana")
    registry.describe_again("1", "2")
    assert "Review: rolled back by ana" in registry.version("2").description
    assert "| gain | 0.0100 |" in registry.version("2").description


def test_a_rollback_to_the_zero_shot_model_and_back(two_champions: Registry) -> None:
    registry = two_champions
    registry.roll_back(None, expected="2", review=ANA)
    assert registry.champion() is None
    assert registry.standing()[0] is None

    registry.roll_back("2", expected=None, review=ANA)
    champion = registry.champion()
    assert champion is not None
    assert champion.version == "2"


def test_a_rollback_without_its_champion_or_target_changes_nothing(two_champions: Registry) -> None:
    registry = two_champions
    before = registry.standing()
    with pytest.raises(RegistryError, match="Version 2 is live, and not Version 1"):
        registry.roll_back(None, expected="1", review=ANA)
    with pytest.raises(RegistryError, match="has no version '9' that Dayspring registered"):
        registry.roll_back("9", expected="2", review=ANA)
    assert registry.standing() == before


def test_all_versions_are_listed_as_mlflow_tells_them(two_champions: Registry) -> None:
    registry = two_champions
    listed = registry.listed()
    client = open_client(registry.tracking_uri)
    for each, number in zip(listed, ["1", "2"], strict=True):
        found = client.get_model_version(registry.name, number)
        assert (each.version, each.run_id, dict(each.tags)) == (number, found.run_id, found.tags)
        assert each.created_at.timestamp() == found.creation_timestamp / 1000


def test_an_empty_registry_has_no_champion_and_no_versions(registry: Registry) -> None:
    assert registry.standing() == (None, None)
    assert registry.listed() == []


def test_a_rollback_imports_no_mlflow(home: Path, ranker: Path) -> None:
    registry = open_registry(home)
    register_in(registry, ranker)
    registry.promote("1", compared_with=None, reason="won", evidence={})
    script = """
import sys
from pathlib import Path
from registries import open_registry
from tasks.registry.version import Review

open_registry(Path(sys.argv[1])).roll_back(None, expected="1", review=Review("ana", "bad"))
assert "mlflow" not in sys.modules and "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(home)], env=child_environment(), check=True)
    assert registry.champion() is None


def test_a_move_that_breaks_half_way_takes_everything_back(home: Path, ranker: Path) -> None:
    registry = open_registry(home)
    register_in(registry, ranker)
    registry.promote("1", compared_with=None, reason="won", evidence={})
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE DELETE ON registered_model_aliases "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        database.commit()

    with pytest.raises(RegistryError, match="disk is full"):
        registry.roll_back(None, expected="1", review=ANA)

    assert registry.standing()[0] == "1"
    assert registry.version("1").tags["review"] == "not reviewed"


def test_a_rollback_killed_right_after_a_servers_alias_holds(
    server: str, home: Path, ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    ask = _Server._ask

    def die(self: _Server, method: str, path: str, fields: dict[str, str] | None) -> object:
        answer = ask(self, method, path, fields)
        if method == "POST" and path == "registered-models/alias":
            raise Killed
        return answer

    registry = crown_two(Registry(server, None, "killed", leases=Leases(str(home))), ranker)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(_Server, "_ask", die)
        registry.roll_back("1", expected="2", review=ANA)

    live, move = registry.standing()
    assert move is not None
    assert (live, move.event, move.by, move.reason) == ("1", "rolled_back", "ana", "clicks fell")
    repeated = registry.promote("2", compared_with="1", reason="won", evidence={})
    told = "Version 2 was rolled back by ana: clicks fell"
    assert (repeated.moved, repeated.reason) == (False, told)


def test_an_approval_of_what_the_gate_made_champion_says_so(home: Path, ranker: Path) -> None:
    registry = crown_two(open_registry(home), ranker)
    told = registry.approve("2", ANA)
    assert (told.moved, told.reason) == (True, "Version 2 is the champion.")


def test_a_server_that_wants_a_login_is_asked_with_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _authorization() == {}
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    assert _authorization() == {"Authorization": "Bearer t"}
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "u")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "p")
    assert _authorization() == {"Authorization": "Basic dTpw"}


def test_the_last_move_reads_back_as_it_was_written(home: Path, ranker: Path) -> None:
    registry = open_registry(home)
    register_in(registry, ranker)
    promotion = registry.promote("1", compared_with=None, reason="gain × 2", evidence={})
    with pointer(registry.tracking_uri, registry.name) as alias:
        move = alias.last_move()
    assert move is not None
    assert (move.event, move.version, move.by, move.reason) == (
        "promoted",
        "1",
        "dayspring",
        "gain × 2",
    )
    assert move.at == promotion.live_since
    assert json.loads(move.to_json())["at"] == move.at.isoformat()
