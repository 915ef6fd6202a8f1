"""A lease has one holder, outlives no process, and no wall clock decides when it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from registries import child_environment

from tasks.errors import RegistryError, RegistryUnavailable
from tasks.registry import lease
from tasks.registry.lease import Leases, Watch

HOLDER = """
import sys, time
from tasks.registry.lease import Leases

with Leases(sys.argv[1]).held("run", ttl_seconds=float(sys.argv[2])):
    print("held", flush=True)
    time.sleep(120)
"""


def hold_elsewhere(root: Path, ttl_seconds: float = 60.0) -> subprocess.Popen[str]:
    """Another process that holds `run`."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), str(ttl_seconds)],
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_of_many_threads_one_holds_at_a_time_and_each_has_a_term_of_its_own(tmp_path: Path) -> None:
    inside, most, terms = 0, 0, []

    def hold() -> None:
        nonlocal inside, most
        with Leases(str(tmp_path)).held("run", timeout_seconds=120) as held:
            inside += 1
            most = max(most, inside)
            terms.append(held.term)
            time.sleep(0.005)
            inside -= 1

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
    assert terms == [1, 2, 3, 4, 5, 6]


def test_a_run_may_hold_again_what_it_holds(tmp_path: Path) -> None:
    leases = Leases(str(tmp_path))
    with leases.held("run") as outer:
        with Leases(str(tmp_path)).held("run") as inner:
            assert inner is outer
        holder = leases.holder("run")
        assert holder is not None and not holder.released
    assert leases.holder("run").released


def test_a_living_holder_is_named_and_a_killed_one_is_taken_over_at_once(tmp_path: Path) -> None:
    holder = hold_elsewhere(tmp_path)
    with (
        pytest.raises(RegistryError, match=f"run is held by process {holder.pid} on"),
        Leases(str(tmp_path)).held("run", timeout_seconds=0.1),
    ):
        pass

    holder.kill()
    holder.wait()
    with Leases(str(tmp_path)).held("run", timeout_seconds=0.1) as held:
        assert held.term == 2


def test_a_holder_on_another_machine_is_dead_only_when_its_row_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The observer is made to be elsewhere: it cannot see the holder's process, only its row."""
    holder = hold_elsewhere(tmp_path, ttl_seconds=2.0)
    monkeypatch.setattr(lease, "_machine", lambda: "elsewhere")

    # It renews every half second, so it is alive however long it is watched.
    with (
        pytest.raises(RegistryError, match="is held by process"),
        Leases(str(tmp_path)).held("run", timeout_seconds=3),
    ):
        pass

    os.kill(holder.pid, signal.SIGSTOP)
    with Leases(str(tmp_path)).held("run", timeout_seconds=0.1) as held:
        assert held.term == 2
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()


def test_a_holder_that_was_taken_over_learns_it_before_the_step_that_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Leases(str(tmp_path)).held("registry", ttl_seconds=600) as sleeper:
        row = Leases(str(tmp_path)).holder("registry")
        taken = replace(row, term=row.term + 1, machine="elsewhere", pid=1)
        assert lease._Table(f"{tmp_path}/leases").swap(row, taken)
        with pytest.raises(RegistryError, match="The lease registry was lost"):
            sleeper.check()

    # Giving back what was lost leaves the new holder alone.
    assert Leases(str(tmp_path)).holder("registry") == taken


def test_a_wrong_clock_ends_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Leases(str(tmp_path)).held("run"):
        row = Leases(str(tmp_path)).holder("run")
    old = replace(row, released=False, machine="elsewhere", renewed_at=row.renewed_at.min)
    assert not Watch().is_dead(old)


def test_renewals_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "CLEARED_AFTER_HOURS", 0)
    monkeypatch.setattr(lease, "COMMITS_BEFORE_TIDYING", 8)
    with Leases(str(tmp_path)).held("run") as held:
        for _ in range(40):
            held.check()
    files = list((tmp_path / "leases").rglob("*.parquet"))
    live = [file for file in files if "_delta_log" not in file.parts]
    assert len(live) <= 9
    assert len(Leases(str(tmp_path)).holders()) == 1


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "leases").write_text("not a table")
    with (
        pytest.raises(RegistryError, match=r"The leases at .*leases cannot be used"),
        Leases(str(tmp_path)).held("run"),
    ):
        pass


def lose_the_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next commit is made, and its store goes out of reach before it can say so."""
    swap = lease._Table.swap

    def unanswered(table: lease._Table, *rows: lease.Holder) -> bool:
        monkeypatch.setattr(lease._Table, "swap", swap)
        assert table.swap(*rows)
        raise RegistryUnavailable("no answer")

    monkeypatch.setattr(lease._Table, "swap", unanswered)


def test_a_store_that_is_out_of_reach_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_next_answer(monkeypatch)
    with Leases(str(tmp_path)).held("run", timeout_seconds=60) as held:
        assert held.term == 1  # taken once, not from itself
    lose_the_next_answer(monkeypatch)
    with (
        pytest.raises(RegistryUnavailable),
        Leases(str(tmp_path)).held("run", timeout_seconds=-1),
    ):
        pass


def test_a_renewal_whose_answer_was_lost_loses_no_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(str(tmp_path))
    with leases.held("run") as held:
        lose_the_next_answer(monkeypatch)
        with pytest.raises(RegistryUnavailable):
            held.check()
        held.check()
        lose_the_next_answer(monkeypatch)
        with pytest.raises(RegistryUnavailable):
            held.check()
    holder = leases.holder("run")
    assert holder is not None and holder.released
