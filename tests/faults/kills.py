"""A week's backfill killed at random moments and at every stage boundary, against an undisturbed one.

    python tests/faults/kills.py [--moments 50] [--weeks 1] [--days 7] [--every 1] [--seed 1] [--json]

Random: real SIGKILLs of the run's process group, by the wall clock. The moments are uniform within
the seconds that an undisturbed week took, spread over `--weeks` weeks; the gap between two moments
is what a run lives before it is killed and continued. Boundaries: a run dies at each moment of
`backfills.STAGES` of each day, or with `--every 3` at each third of them. A run is forked from a
process that has imported everything: nothing of a run happens while it imports, and the imports
would be most of a run's time. All share one Prefect server.

Exit code 1 if anything differs: tables, journal, versions, champion, rows lost, doubled or unaccounted.
"""

import argparse
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path += map(str, Path(__file__).parents[1:3])

from backfills import STAGES, lost_and_doubled
from killed_run import main as run_until
from outcomes import differences
from portal import FIRST_DAY, write_config

from tasks.environment import prepare_environment
from tasks.registry.store import open_client
from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.simulate import DaySummary, simulate
from tasks.workspace import open_workspace

PORTAL = SimulatorSettings(
    seed=3,
    num_users=150,
    impressions_per_day=250,
    births_per_day=40,
    late_share=0.02,
    duplicate_share=0.02,
    malformed_share=0.02,
)
RECIPE = {"shots": 256, "window_days": 3, "head_epochs": 4, "adapter_epochs": 0}
GIVEN_UP_SECONDS = 1800.0
POLL_SECONDS = 0.01


@dataclass
class Case:
    """One week, killed as `name` says and continued until it came through."""

    name: str
    kills: int = 0
    rows_lost: int = 0
    rows_doubled: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Week:
    """The logs, what was planted in them, and how to run them in a folder."""

    logs: Path
    planted: tuple[DaySummary, ...]
    boundaries: Sequence[str]
    """Where in a day runs die."""
    registry: Path
    """An empty MLflow database, to be copied: making its tables takes seconds."""

    def config(self, folder: Path) -> Path:
        """A home of its own for the same logs."""
        (folder / ".dayspring").mkdir(parents=True)
        shutil.copy(self.registry, folder / ".dayspring" / "mlflow.db")
        return write_config(folder, self.logs, finetune=RECIPE)

    def start(self, config: Path, moment: str = "never") -> int:
        """Fork a run as the leader of a process group; returns its process id."""
        days = (str(self.planted[0].day), str(self.planted[-1].day))
        log = config.parent / "run.log"
        return forked(lambda: run_until(moment, str(config), *days), log)


def forked(work: Callable[[], object], log: Path) -> int:
    """Do `work` in a process group of its own; returns the process id."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    with log.open("ab") as lines:
        os.dup2(lines.fileno(), 1)
        os.dup2(lines.fileno(), 2)
    code = 1
    try:
        work()
        code = 0
    except SystemExit as leaving:
        code = 0 if leaving.code in (None, 0) else 1
        if isinstance(leaving.code, str):
            print(leaving.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int, after_seconds: float) -> int | None:
    """How the run ended, negative by a signal; None if it still runs after so long."""
    deadline = time.monotonic() + after_seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_SECONDS)


def come_through(week: Week, config: Path) -> float:
    """Run the week to its end; returns the seconds."""
    started = time.monotonic()
    code = ended(week.start(config), GIVEN_UP_SECONDS)
    if code != 0:
        raise SystemExit(f"the run ended with {code}: {last_words(config)}")
    return time.monotonic() - started


def last_words(config: Path) -> str:
    """The end of what its runs have said."""
    return "\n".join((config.parent / "run.log").read_text().splitlines()[-30:])


def random_kills(week: Week, config: Path, moments: Sequence[float]) -> int:
    """Kill a run at each of the moments, in seconds of work; returns how many hit a running one."""
    before, hit = 0.0, 0
    for moment in sorted(moments):
        pid = week.start(config)
        code = ended(pid, moment - before)
        before = moment
        if code is None:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            hit += 1
        elif code != 0:
            raise SystemExit(f"a continued run failed: {last_words(config)}")
    come_through(week, config)
    return hit


def boundary_kills(week: Week, config: Path) -> int:
    """Let a run die at the stage boundaries of every day; returns how many died there."""
    hit = 0
    for _ in week.planted:
        for moment in week.boundaries:
            code = ended(week.start(config, moment), GIVEN_UP_SECONDS)
            if code != -signal.SIGKILL:
                raise SystemExit(f"{moment} ended with {code}: {last_words(config)}")
            hit += 1
    come_through(week, config)
    return hit


def judge(case: Case, week: Week, config: Path, smooth: Path) -> Case:
    """Compare a week that came through with the undisturbed one and with the logs."""
    found, expected = open_workspace(config, "portal"), open_workspace(smooth, "portal")
    case.faults = differences(found, expected)
    case.rows_lost, case.rows_doubled, accounts = lost_and_doubled(found, week.logs, week.planted)
    case.faults += accounts
    return case


def measure(
    folder: Path, *, moments: int, weeks: int, days: int, every: int, seed: int
) -> Iterator[Case]:
    """Every case in turn."""
    logs = folder / "logs"
    planted = simulate(PORTAL, out=logs, first_day=FIRST_DAY, days=days).days
    week = Week(logs, planted, STAGES[::every], folder / "mlflow.db")
    # In a process of its own: a fork must not inherit a database's threads and connections.
    ended(
        forked(lambda: open_client(f"sqlite:///{week.registry}"), folder / "mlflow.log"),
        GIVEN_UP_SECONDS,
    )
    smooth = week.config(folder / "undisturbed")
    seconds = come_through(week, smooth)
    undisturbed = Case("undisturbed", seconds=seconds)
    draw = random.Random(seed)  # noqa: S311
    drawn = [draw.uniform(0, seconds) for _ in range(moments)]
    works = [partial(judge, undisturbed, week, smooth, smooth)]
    for number in range(weeks):
        name = f"random moments, week {number + 1}"
        place, its = folder / f"random-{number}", drawn[number::weeks]
        works.append(partial(kill_and_judge, name, week, place, its, smooth))
    name = f"{len(week.boundaries)} stage boundaries of {days} days"
    works.append(partial(kill_and_judge, name, week, folder / "boundaries", None, smooth))
    yield from side_by_side(works, folder)


def side_by_side(works: Sequence[Callable[[], Case]], folder: Path) -> Iterator[Case]:
    """The cases as they come, each from a process of its own, which forks its runs."""
    running = {}
    for number, work in enumerate(works):
        result = folder / f"case-{number}.json"
        running[forked(partial(_write, work, result), folder / f"case-{number}.log")] = result
    while running:
        pid, status = os.wait()
        if pid not in running:
            continue
        result = running.pop(pid)
        if status:
            yield Case(result.stem, faults=[result.with_suffix(".log").read_text()])
        else:
            yield Case(**json.loads(result.read_text()))


def _write(work: Callable[[], Case], result: Path) -> None:
    result.write_text(json.dumps(asdict(work())))


def kill_and_judge(
    name: str, week: Week, folder: Path, moments: Sequence[float] | None, smooth: Path
) -> Case:
    """A week of its own: killed at the moments, or at every boundary without any."""
    config = week.config(folder)
    started = time.monotonic()
    hit = boundary_kills(week, config) if moments is None else random_kills(week, config, moments)
    case = Case(name, kills=hit, seconds=time.monotonic() - started)
    return judge(case, week, config, smooth)


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A Prefect server of our own; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "prefect"
    env = {**os.environ, "PREFECT_HOME": str(home)}
    command = [str(program), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    command.append("--no-services")  # nothing is scheduled, and they are half of its work
    with (home.parent / "prefect.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}/api"
    try:
        while not _healthy(url):
            if server.poll() is not None:
                raise SystemExit(f"Prefect's server ended; see {home.parent / 'prefect.log'}")
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _healthy(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


def import_everything() -> None:
    """What a run imports, so that a forked one imports nothing."""
    for package in ("flows", "tasks"):
        for found in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            importlib.import_module(found.name)
    for name in ("mlflow.store.tracking.sqlalchemy_store", "transformers", "torch", "duckdb"):
        importlib.import_module(name)


def show(cases: Sequence[Case]) -> None:
    print("| week | kills | rows lost | rows doubled | other differences | seconds |")
    print("|---|---:|---:|---:|---:|---:|")
    for case in cases:
        print(
            f"| {case.name} | {case.kills} | {case.rows_lost} | {case.rows_doubled} "
            f"| {len(case.faults)} | {case.seconds:.0f} |"
        )
    for case in cases:
        for fault in case.faults:
            print(f"{case.name}: {fault}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--moments", type=int, default=50)
    options.add_argument("--weeks", type=int, default=1)
    options.add_argument("--days", type=int, default=7)
    options.add_argument("--every", type=int, default=1, help="each so many boundaries of a day")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", action="store_true")
    chosen: dict[str, Any] = vars(options.parse_args())
    as_json = chosen.pop("json")
    # One run after the other on a shared machine: threads would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    prepare_environment()
    cases = []
    with tempfile.TemporaryDirectory() as place, prefect_server(Path(place) / "prefect") as url:
        os.environ |= {"PREFECT_API_URL": url, "PREFECT_HOME": f"{place}/prefect"}
        import_everything()
        for case in measure(Path(place), **chosen):
            print(f"{case.name}: {case.seconds:.0f} s, {case.faults}", file=sys.stderr, flush=True)
            cases.append(case)
    if as_json:
        print(json.dumps([asdict(case) for case in cases], indent=2))
    else:
        show(cases)
    sys.exit(any(case.rows_lost or case.rows_doubled or case.faults for case in cases))


if __name__ == "__main__":
    main()
