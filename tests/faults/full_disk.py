"""A disk that is full while a day is published, and while its model is registered.

    python tests/faults/full_disk.py [--mib 96] [--json]

Home, with lake, registry and the database of Prefect's own server, is a file system of its own in
memory (Linux, root). After the first day has made a champion, the second day's run finds the disk
full at each moment of `FULL_AFTER`. Each time the run has to end with a message that names a next
step, and the champion has to be the one it was. Then space is made, and the same command continues.
Afterwards tables, journal, versions and champion have to be those of an undisturbed run, every row
accounted for.

Exit code 1 if anything differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path += map(str, Path(__file__).parents[1:3])

import yaml
from backfills import come_through, is_clear, last_words, run, unlike
from killed_run import FILLER
from kills import PORTAL, RECIPE
from outcomes import champion
from portal import DAYS, write_config

from tasks.environment import prepare_environment
from tasks.simulator.simulate import simulate
from tasks.workspace import Workspace, open_workspace

SPAN = DAYS[:2]

FULL_AFTER = {
    "publishing": "tasks.quality.validate:validate_day",
    "saving the challenger": "tasks.recommender.store:save_ranker",
    "about to register": "tasks.recommender.snapshot:save_statistics",
    "registering": "tasks.registry.registration:resume_run",
}
"""The last work of a day that still finds space."""


@dataclass
class Case:
    """One run with a full disk, or the one that has space again."""

    name: str
    exit_code: int
    message: str
    """What the run ended with, if it failed."""
    champion_before: str | None
    champion_after: str | None
    seconds: float
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Portal:
    """A pipeline whose home is the small disk."""

    config: Path
    disk: Path

    @property
    def workspace(self) -> Workspace:
        """What its runs left."""
        return open_workspace(self.config, "portal")

    def run(self, name: str, moment: str = "never") -> Case:
        """Run both days up to the moment; returns what came of it."""
        before, started = champion(self.workspace), time.monotonic()
        ended = run(moment, self.config, SPAN, {})
        message = last_words(ended.stderr) if ended.returncode else ""
        seconds = time.monotonic() - started
        return Case(name, ended.returncode, message, before, champion(self.workspace), seconds)

    def run_out_of_space(self, name: str, after: str) -> Case:
        """Run with a disk that is full from after that function on, then make space."""
        case = self.run(name, f"full:{after}:{self.disk}")
        if not (self.disk / FILLER).exists():
            case.faults.append("the disk was never full")
        (self.disk / FILLER).unlink(missing_ok=True)
        if case.exit_code != 1 or not is_clear(case.message):
            case.faults.append("no clear error")
        if "disk" not in case.message:
            case.faults.append("the error does not speak of the disk")
        if case.champion_before is None or case.champion_after != case.champion_before:
            case.faults.append("another champion")
        return case


def measure(folder: Path, disk: Path) -> Iterator[Case]:
    """Each full disk in turn, then the run that has space again."""
    logs = folder / "logs"
    planted = simulate(PORTAL, out=logs, first_day=DAYS[0], days=len(SPAN)).days
    (folder / "undisturbed").mkdir()
    smooth = write_config(folder / "undisturbed", logs, finetune=RECIPE)
    come_through(smooth, SPAN, {})

    config = write_config(folder, logs, finetune=RECIPE)
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"home": str(disk)}))
    come_through(config, SPAN[:1], {})
    portal = Portal(config, disk)
    for name, function in FULL_AFTER.items():
        yield portal.run_out_of_space(name, function)
    case = portal.run("space again")
    case.faults = unlike(portal.workspace, open_workspace(smooth, "portal"), logs, planted)
    yield case


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """A file system of its own in memory, mounted at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        raise SystemExit(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def show(cases: Sequence[Case]) -> None:
    print("| disk full while | exit code | champion before | after | differences | seconds |")
    print("|---|---:|---|---|---:|---:|")
    for case in cases:
        print(
            f"| {case.name} | {case.exit_code} | {case.champion_before} | {case.champion_after} "
            f"| {len(case.faults)} | {case.seconds:.0f} |"
        )
    for case in cases:
        for line in filter(None, (case.message, *case.faults)):
            print(f"- {case.name}: {line}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--mib", type=int, default=96)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    prepare_environment()
    with (
        tempfile.TemporaryDirectory() as place,
        small_disk(Path(place) / "disk", chosen.mib) as disk,
    ):
        cases = []
        for case in measure(Path(place), disk):
            print(f"{case.name}: {case.seconds:.0f} s, {case.faults}", file=sys.stderr, flush=True)
            cases.append(case)
    if chosen.json:
        print(json.dumps([asdict(case) for case in cases], indent=2))
    else:
        show(cases)
    sys.exit(cases[-1].exit_code != 0 or any(case.faults for case in cases))


if __name__ == "__main__":
    main()
