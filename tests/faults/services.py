"""Each server of the grown set-up killed during a run and started again, against an undisturbed run.

    python tests/faults/services.py [--days 4] [--seconds 15] [--json]

The stack of `infra/local` runs Prefect and MLflow on PostgreSQL and an S3 server on a disk. A run of
`dayspring backfill` is watched; as soon as it tells a stage's line, one server gets SIGKILL, and is
started again after `--seconds`. In four days each of the four is killed at each stage of `STAGES`. A
run that fails must say so in a message with a next step, never a traceback, and is continued with
the same command. Afterwards tables, journal, versions and champion have to be those of an
undisturbed run that kept them in a folder, and every row accounted for.

Exit code 1 if anything differs.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

sys.path += map(str, Path(__file__).parents[1:3])

import yaml
from backfills import come_through, is_clear, lost_and_doubled, watched
from kills import PORTAL, RECIPE
from outcomes import differences
from portal import FIRST_DAY, write_config

from infra.local.stack import Stack
from tasks.environment import prepare_environment
from tasks.simulator.simulate import DaySummary, simulate
from tasks.workspace import Workspace, open_workspace

SERVERS = ("prefect", "mlflow", "postgres", "s3")
STAGES = ("ingest", "finetune")
"""After the first comes the publishing, after the second the registration and the promotion."""


@dataclass(frozen=True)
class Fault:
    """`server` is killed when the run tells of `stage` of `day`, and started again after `seconds`."""

    server: str
    day: date
    stage: str
    seconds: float

    def is_told_by(self, line: str) -> bool:
        """Whether `line` of the run is the moment."""
        return line.startswith(f"{self.day}  {self.stage} ")


@dataclass
class Outcome:
    """What came of a range of days with faults in it."""

    name: str
    kills: int = 0
    runs: int = 0
    """Times that the command was given until it came through."""
    messages: list[str] = field(default_factory=list)
    """What the runs that failed said at their end."""
    rows_lost: int = 0
    rows_doubled: int = 0
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def faults(self) -> list[str]:
        """What should not be, in words."""
        unclear = [f"no clear error: {text}" for text in self.messages if not is_clear(text)]
        counted = [f"{self.rows_lost} rows lost"] if self.rows_lost else []
        counted += [f"{self.rows_doubled} rows doubled"] if self.rows_doubled else []
        return [*unclear, *counted, *self.differences]


@dataclass(frozen=True)
class Case:
    """The portal on the stack: its lake and registry are there, its home is a folder."""

    stack: Stack
    config: Path
    days: Sequence[date]

    @classmethod
    def of(cls, stack: Stack, folder: Path, logs: Path, days: Sequence[date]) -> "Case":
        """A home in `folder` for the portal's logs."""
        folder.mkdir()
        config, env = write_config(folder, logs, finetune=RECIPE), stack.env()
        services = {"lake": env["DAYSPRING_LAKE"], "registry": env["MLFLOW_TRACKING_URI"]}
        document = yaml.safe_load(config.read_text()) | {"services": services}
        config.write_text(yaml.safe_dump(document))
        return cls(stack, config, days)

    def workspace(self) -> Workspace:
        """What the runs left."""
        return open_workspace(self.config, "portal")

    def run(self, faults: Sequence[Fault] = ()) -> Outcome:
        """Run the backfill with the faults in it, and repeat the command until it comes through."""
        outcome, waiting = Outcome("servers killed"), list(faults)
        started = time.monotonic()
        # Each fault may stop one run; what is left after that stops the experiment.
        for _ in range(1 + len(faults)):
            outcome.runs += 1
            code, message = self._run_once(waiting)
            if code == 0:
                break
            print(message, file=sys.stderr, flush=True)
            outcome.messages.append(message)
        else:
            raise SystemExit("the range did not come through")
        outcome.kills = len(faults) - len(waiting)
        outcome.seconds = time.monotonic() - started
        return outcome

    def _run_once(self, waiting: list[Fault]) -> tuple[int, str]:
        """One run; the faults that happened leave `waiting`. Returns the exit code and last words."""
        restarts: list[threading.Thread] = []

        def told(_process: object, line: str) -> None:
            if waiting and waiting[0].is_told_by(line):
                restarts.append(self._strike(waiting.pop(0)))

        code, message = watched(self.config, "portal", self.days, self.stack.env(), told)
        for restart in restarts:
            restart.join()
        return code, message

    def _strike(self, fault: Fault) -> threading.Thread:
        self.stack.kill(fault.server)

        def revive() -> None:
            time.sleep(fault.seconds)
            self.stack.up([fault.server])

        thread = threading.Thread(target=revive)
        thread.start()
        return thread


def judge(
    outcome: Outcome, found: Workspace, smooth: Workspace, logs: Path, planted: Sequence[DaySummary]
) -> Outcome:
    """Compare what is left with the undisturbed run's and with the logs."""
    lost, doubled, unaccounted = lost_and_doubled(found, logs, planted)
    unlike = [*differences(found, smooth), *unaccounted]
    return replace(outcome, rows_lost=lost, rows_doubled=doubled, differences=unlike)


def spread(days: Sequence[date], seconds: float) -> list[Fault]:
    """A fault at each stage of each day: in four days every server at every stage.

    A server's two faults are two days apart, so that none hits it while it is being restarted.
    """
    turns = {"ingest": SERVERS, "finetune": (*SERVERS[2:], *SERVERS[:2])}
    return [
        Fault(turns[stage][number % len(SERVERS)], day, stage, seconds)
        for number, day in enumerate(days)
        for stage in STAGES
    ]


def measure(folder: Path, stack: Stack, faults: Sequence[Fault]) -> Iterator[Outcome]:
    """What came of the undisturbed days on a folder, and of the days on the stack with the faults."""
    logs, days = folder / "logs", sorted({fault.day for fault in faults})
    planted = simulate(PORTAL, out=logs, first_day=days[0], days=len(days)).days
    (folder / "undisturbed").mkdir()
    config, started = write_config(folder / "undisturbed", logs, finetune=RECIPE), time.monotonic()
    come_through(config, days, stack.env())
    smooth = open_workspace(config, "portal")
    undisturbed = Outcome("undisturbed, in a folder", runs=1, seconds=time.monotonic() - started)
    yield judge(undisturbed, smooth, smooth, logs, planted)
    case = Case.of(stack, folder / "killed", logs, days)
    yield judge(case.run(faults), case.workspace(), smooth, logs, planted)


def show(faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> None:
    print("| days | kills | runs | rows lost | rows doubled | other differences | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for one in outcomes:
        print(
            f"| {one.name} | {one.kills} | {one.runs} | {one.rows_lost} | {one.rows_doubled} "
            f"| {len(one.differences)} | {one.seconds:.0f} |"
        )
    for fault in faults:
        print(f"- {fault.server} killed as {fault.stage} of {fault.day} is told")
    for one in outcomes:
        for line in (*one.messages, *one.differences):
            print(f"- {line}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--days", type=int, default=len(SERVERS))
    options.add_argument("--seconds", type=float, default=15.0)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    prepare_environment()
    faults = spread([FIRST_DAY + timedelta(days=n) for n in range(chosen.days)], chosen.seconds)
    with tempfile.TemporaryDirectory() as place:
        stack = Stack(Path(place) / "stack")
        try:
            os.environ |= stack.up(["prefect", "mlflow", "s3"]).env()
            outcomes = list(measure(Path(place), stack, faults))
        finally:
            stack.erase()
    if chosen.json:
        told = {"faults": faults, "outcomes": outcomes}
        print(
            json.dumps(
                told, default=lambda each: str(each) if isinstance(each, date) else asdict(each)
            )
        )
    else:
        show(faults, outcomes)
    missed = outcomes[-1].kills < len(faults)
    sys.exit(missed or any(one.faults() for one in outcomes))


if __name__ == "__main__":
    main()
