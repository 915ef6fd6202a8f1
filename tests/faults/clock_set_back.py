"""The clock set back by a month while a backfill runs, against an undisturbed backfill.

    python tests/faults/clock_set_back.py [--json]

The run's clock is libfaketime's (Debian's package faketime); it goes back as the second day is
published. Once over days long past, which have to be adapted to under the wrong clock as under a right
one; once over the last days, which the wrong clock has not reached: there the run may stop with a clear
error, and has to continue with the same command when the clock is right again. While the clock is
wrong the run's lease has to hold, and afterwards it must not stick. Tables, journal, versions and
champion have to be those of an undisturbed run, the moves in the order of the days, and
`champion_at` has to tell each.

Exit code 1 if anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

sys.path += map(str, Path(__file__).parents[1:3])

from backfills import come_through, is_clear, unlike, watched
from kills import PORTAL, RECIPE, prefect_server
from outcomes import champion
from portal import DAYS, write_config

from tasks.environment import prepare_environment
from tasks.errors import RegistryError
from tasks.simulator.simulate import simulate
from tasks.workspace import Workspace, open_workspace

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
RIGHT, A_MONTH_BACK = "+0", "-30d"


@dataclass
class Case:
    """One backfill whose clock was set back."""

    name: str
    moves: int
    """Changes of the champion, all told."""
    moves_set_back: int
    """Those of days that ran under the wrong clock."""
    message: str
    """What the run ended with, if the wrong clock stopped it."""
    seconds: float
    faults: list[str] = field(default_factory=list)


class SetBack:
    """Sets a run's clock back, and tries its lease while the clock is wrong."""

    def __init__(self, clock: Path, days: Sequence[date], workspace: Workspace) -> None:
        self.clock, self.days, self.workspace = clock, days, workspace
        self.is_set_back = self.was_tried = False
        self.faults: list[str] = []
        clock.write_text(RIGHT)

    def told(self, process: subprocess.Popen[str], line: str) -> None:
        """A line of the run."""
        if line.startswith(f"{self.days[1]}  publish "):
            self.clock.write_text(A_MONTH_BACK)
            self.is_set_back = True
        elif self.is_set_back and not self.was_tried:
            self.was_tried = True
            self.faults += self._try_the_lease_of(process.pid)

    def _try_the_lease_of(self, pid: int) -> list[str]:
        try:
            with self.workspace.leases.held("run", timeout_seconds=1):
                return ["the run's lease was taken over while it ran"]
        except RegistryError as refused:
            ours = f"process {pid} " in str(refused)
            return [] if ours else [f"the run's lease was refused by another: {refused}"]


def environment(env: Mapping[str, str], clock: Path) -> dict[str, str]:
    """A run's environment with the clock that the file `clock` tells."""
    return {
        **env,
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def measure(folder: Path, name: str, first_day: date, env: Mapping[str, str]) -> Case:
    """Set the clock back in a backfill from `first_day`, and compare with an undisturbed one."""
    logs, smooth, place = folder / "logs", folder / "undisturbed", folder / "set-back"
    for each in (smooth, place):
        each.mkdir(parents=True)
    planted = simulate(PORTAL, out=logs, first_day=first_day, days=len(DAYS)).days
    days = [day.day for day in planted]
    expected = write_config(smooth, logs, finetune=RECIPE)
    come_through(expected, days, env)

    config = write_config(place, logs, finetune=RECIPE)
    workspace = open_workspace(config, "portal")
    back, started = SetBack(place / "clock", days, workspace), time.monotonic()
    wrong = environment(env, back.clock)
    code, message = watched(config, "portal", days, wrong, back.told)
    moves_set_back = sum(move.day in days[1:] for move in workspace.journal.moves())
    if code:
        back.clock.write_text(RIGHT)
        come_through(config, days, env)
    moves = workspace.journal.moves()
    case = Case(
        name,
        moves=len(moves),
        moves_set_back=moves_set_back,
        message=message,
        seconds=time.monotonic() - started,
        faults=back.faults + out_of_order(workspace),
    )
    if not back.was_tried:
        case.faults.append("the clock was not set back")
    if code and not is_clear(message):
        case.faults.append("no clear error")
    with workspace.alone():  # at once, for nothing sticks
        case.faults += unlike(workspace, open_workspace(expected, "portal"), logs, planted)
    return case


def out_of_order(workspace: Workspace) -> list[str]:
    """What the journal tells wrongly about the order of days, moves and champions."""
    journal, faults = workspace.journal, []
    moves = journal.moves()
    closed = [entry.day for entry in journal.entries(event="closed")]
    for named, days in (("closed days", closed), ("moves", [move.day for move in moves])):
        if days != sorted(days, key=str):
            faults.append(f"{named} in the order {[str(day) for day in days]}")
    if len({move.effective_at for move in moves}) < len(moves):
        faults.append("two moves at one moment")
    for move in moves:
        told = journal.champion_at(move.effective_at)
        if told != move.model_version:
            faults.append(f"champion_at tells {told} where {move.model_version} became champion")
    if not moves or moves[-1].model_version != champion(workspace):
        faults.append("the last move is not the champion's")
    return faults


def cases(folder: Path, env: Mapping[str, str]) -> Iterator[Case]:
    """Days long past, then the last days."""
    yield measure(folder / "past", "days long past", DAYS[0], env)
    recent = datetime.now(UTC).date() - timedelta(days=len(DAYS))
    yield measure(folder / "last", "the last days", recent, env)


def show(found: Sequence[Case]) -> None:
    print("| clock set back in | moves | of them set back | differences | seconds |")
    print("|---|---:|---:|---:|---:|")
    for case in found:
        print(
            f"| {case.name} | {case.moves} | {case.moves_set_back} | {len(case.faults)} "
            f"| {case.seconds:.0f} |"
        )
    for case in found:
        for line in filter(None, (case.message, *case.faults)):
            print(f"- {case.name}: {line}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    if not LIBRARIES:
        raise SystemExit("no libfaketime here: install Debian's package faketime")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    prepare_environment()
    with tempfile.TemporaryDirectory() as place, prefect_server(Path(place) / "prefect") as url:
        env = {"PREFECT_API_URL": url, "PREFECT_HOME": f"{place}/prefect"}
        found = []
        for case in cases(Path(place), env):
            print(f"{case.name}: {case.seconds:.0f} s, {case.faults}", file=sys.stderr, flush=True)
            found.append(case)
    if chosen.json:
        print(json.dumps([asdict(case) for case in found], indent=2))
    else:
        show(found)
    sys.exit(any(case.faults for case in found))


if __name__ == "__main__":
    main()
