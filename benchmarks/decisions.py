"""The decisions against the simulator's truth: the gate, drift, and what profiles cost.

    python benchmarks/decisions.py [--only gate|guardrails|drift|speed ...] [--share 1.0] [--json]

Each row is one question with the goal, the figure, its 95 % interval and the number of replications.
The code that decides is the code that runs in a day; long and large histories are drawn in memory from
the simulator's distributions. Exits with 1 when a goal is not met. The whole takes under 30 minutes on
two cores; --share 0.1 makes a tenth of the replications.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from time import perf_counter

from decisions_row import Row

from tasks.environment import prepare_environment

PARTS = {
    "gate": "decisions_gate",
    "guardrails": "guardrails",
    "drift": "decisions_drift",
    "speed": "decisions_speed",
}
"""The module that measures each part; it has `rows(share)`."""


def main() -> int:
    """Measure, and print one table or one JSON document."""
    options = _arguments()
    prepare_environment()
    began = perf_counter()
    found = []
    for row in _measured(options.only or list(PARTS), options.share):
        found.append(row)
        print(line(row), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in found], indent=2))
    else:
        met = sum(row.met for row in found if row.goal)
        asked = sum(1 for row in found if row.goal)
        print(f"{met} of {asked} goals met in {perf_counter() - began:.0f} s")
    return 0 if all(row.met for row in found) else 1


def line(row: Row) -> str:
    """The row in words."""
    mark = ("+" if row.met else "!") if row.goal else " "
    goal = f" (goal: {row.goal})" if row.goal else ""
    figure = f"{row.measured:.4g} [{row.low:.4g}, {row.high:.4g}]"
    return (
        f"{mark} {row.question}{goal}: {figure}\n"
        f"    {row.setting}; {row.replications:,} replications, {row.seconds:.0f} s"
    )


def _measured(parts: list[str], share: float) -> Iterator[Row]:
    for part in parts:
        yield from import_module(PARTS[part]).rows(share)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to measure; all by default")
    parser.add_argument("--share", type=float, default=1.0, help="share of the replications")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
