"""Promotions from eight processes, and holders killed inside the lock: on SQLite and on a server."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from registries import open_registry, register_in

from tasks.registry.lease import Leases
from tasks.registry.registry import Registry
from tasks.registry.store import open_client
from tasks.registry.version import Promotion

# Children are forked from one process that has imported MLflow once, and did nothing with it.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["mlflow", "mlflow.tracking", "tasks.registry.registry"])

Open = Callable[[], Registry]


def on_server(url: str, pipeline: str, leases: str) -> Registry:
    return Registry(url, None, pipeline, leases=Leases(leases))


@pytest.fixture(params=["sqlite", "server"])
def opener(request: pytest.FixtureRequest, home: Path) -> Open:
    """How any process opens the registry of this test."""
    if request.param == "sqlite":
        return partial(open_registry, home)
    url = request.getfixturevalue("server")
    pipeline = "".join(c for c in request.node.name if c.isalnum())
    return partial(on_server, url, pipeline, str(home))


def promote_when_all_are_ready(opened: Open, version: str, barrier: Barrier) -> Promotion:
    registry = opened()
    registry.champion()
    barrier.wait(timeout=240)
    return registry.promote(version, compared_with=None, reason=f"v{version} won", evidence={})


def die_before_the_alias_moves(opened: Open, version: str) -> None:
    from mlflow import MlflowClient

    MlflowClient.set_registered_model_alias = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    opened().promote(version, compared_with=None, reason="won", evidence={})


def test_of_eight_processes_that_promote_at_once_exactly_one_wins_and_the_others_say_why(
    opener: Open, ranker: Path
) -> None:
    registry = opener()
    versions = [register_in(registry, ranker, f"f{n}").version for n in range(8)]
    with PROCESSES.Manager() as manager, PROCESSES.Pool(8) as pool:
        barrier = manager.Barrier(8)
        told = pool.starmap(
            promote_when_all_are_ready, [(opener, version, barrier) for version in versions]
        )

    winners = [version for version, each in zip(versions, told, strict=True) if each.moved]
    assert len(winners) == 1
    aliases = open_client(registry.tracking_uri).get_registered_model(registry.name).aliases
    assert str(aliases["champion"]) == winners[0]
    lost = [each.reason for each in told if not each.moved]
    assert len(lost) == 7
    assert all(f"but version {winners[0]} won meanwhile and is live since" in why for why in lost)


def test_a_holder_killed_inside_the_lock_blocks_nobody_and_leaves_the_champion(
    opener: Open, ranker: Path
) -> None:
    registry = opener()
    first, second = (register_in(registry, ranker, f"f{n}").version for n in range(2))
    killed = PROCESSES.Process(target=die_before_the_alias_moves, args=(opener, first))
    killed.start()
    killed.join(timeout=240)
    assert killed.exitcode == -signal.SIGKILL
    assert registry.standing()[0] is None

    assert registry.promote(second, compared_with=None, reason="won", evidence={}).moved
    assert registry.standing()[0] == second
