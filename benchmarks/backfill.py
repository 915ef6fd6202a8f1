"""Reading days ahead against reading them in turn: the same range, published only, in one run.

    python benchmarks/backfill.py [--days 6] [--rows 200000] [--parallel 2] [--repeats 3] [--json]

Both sides are `backfill(..., only_ingest=True)` on an empty home; the sides take turns.
"""

import argparse
import json
import statistics
import time
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

FIRST = date(2026, 3, 2)

CONFIG = """
home: {home}
pipelines:
  portal:
    source:
      format: jsonl
      interactions: {logs}/interactions/{{date}}/*.json.gz
      items: {logs}/items/{{date}}.json.gz
    schedule: {{cron: "30 4 * * *"}}
    retrain: {{any: [{{rule: always}}]}}
    finetune: {{shots: 64}}
    promote: {{min_gain: 0.0}}
"""


def publish_range(folder: Path, logs: Path, days: int, parallel: int) -> float:
    """Seconds that publishing the range takes on a home of its own."""
    from flows.runs import run_range

    folder.mkdir()
    config = folder / "pipelines.yaml"
    config.write_text(CONFIG.format(home=folder / "home", logs=logs))
    last = FIRST + timedelta(days=days - 1)
    began = time.perf_counter()
    records = run_range(
        config, "portal", FIRST, last, force=False, only_ingest=True, parallel=parallel
    )
    seconds = time.perf_counter() - began
    assert len(records) == days
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    from prefect.testing.utilities import prefect_test_harness

    from tasks.environment import prepare_environment
    from tasks.simulator.settings import SimulatorSettings
    from tasks.simulator.simulate import simulate

    prepare_environment()
    with TemporaryDirectory() as folder, prefect_test_harness(server_startup_timeout=120):
        root = Path(folder)
        settings = SimulatorSettings(
            seed=7, impressions_per_day=max(1, options.rows // SimulatorSettings.slate_size)
        )
        simulate(settings, out=root / "logs", first_day=FIRST, days=options.days)
        # Once unmeasured: libraries are imported and files are in the system's cache.
        publish_range(root / "warm", root / "logs", options.days, 0)
        in_turn, ahead = [], []
        for turn in range(options.repeats):
            in_turn.append(publish_range(root / f"turn{turn}", root / "logs", options.days, 0))
            ahead.append(
                publish_range(root / f"ahead{turn}", root / "logs", options.days, options.parallel)
            )
    ratio = statistics.median(in_turn) / statistics.median(ahead)
    found = {"in_turn_seconds": in_turn, "ahead_seconds": ahead, "ratio": ratio, **vars(options)}
    if options.json:
        print(json.dumps(found))
        return
    print(f"{options.days} days of about {options.rows:,} rows, published only")
    print(f"in turn          {statistics.median(in_turn):6.1f} s (median of {options.repeats})")
    print(f"--parallel {options.parallel}     {statistics.median(ahead):6.1f} s")
    print(f"ratio            {ratio:6.2f}")


if __name__ == "__main__":
    main()
