"""Triggers: does the probe's answer tell what a training would gain, and does a fall alarm hold its rate?

    python benchmarks/triggers.py [--days 14] [--seeds 1] [--json]

The probe: on each day of a simulated portal of 20,000 rows (a new topic and another category mix come on
the middle day) it is asked about champions that were trained one and three days before, by the code that a
day runs. The challenger of the day is trained as pipelines.yaml has it, but for the adapter. What it gains
is measured on all of the next day, which neither has seen. The fall: AUCs of days drawn with the standard
errors of 1,000 impressions.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import fmean

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.context import day_rows, published_context
from tasks.environment import prepare_environment
from tasks.evaluation.uncertainty import estimate_gain
from tasks.ingest import ingest
from tasks.models import load
from tasks.probe import run_probe
from tasks.publish import publish
from tasks.recommender.score import score
from tasks.references import Published, Trigger
from tasks.register import register
from tasks.simulator.settings import Shift, SimulatorSettings
from tasks.simulator.simulate import simulate
from tasks.train import train
from tasks.trigger.performance import measure_fall
from tasks.trigger.rules import Probe
from tasks.workspace import Workspace, open_workspace

FIRST_DAY = date(2026, 3, 2)
AGES = (1, 3)
HELPS = 0.005
"""AUC on the next day from which a training is said to have helped."""


@dataclass(frozen=True)
class Asked:
    """One probe, and what the training would have brought."""

    seed: int
    day: int
    age: int
    spoke: bool
    gain: float
    """Of the whole training over the champion, on the next day."""
    gain_error: float
    words: str
    probe_seconds: float
    train_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    prepare_environment()
    asked = [each for seed in range(chosen.seeds) for each in probe_portal(seed, chosen.days)]
    falls = [fall_rates(days, fall) for days in (0.0, 0.01) for fall in (0.0, 0.03, 0.05)]
    if chosen.json:
        print(json.dumps({"probes": [asdict(each) for each in asked], "falls": falls}))
        return
    print("| champion's age | asked | helped | of these, it spoke | helped not | of these, it spoke "
          "| gain where it spoke | where silent | probe s | training s |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for age in AGES:
        print(
            row([each for each in asked if each.age == age], "1 day" if age == 1 else f"{age} days")
        )
    print("\n| days vary by | fall | alarms |\n|---:|---:|---:|")
    for fall in falls:
        print(f"| {fall['days_vary']:g} | {fall['fall']:g} | {100 * fall['alarms']:.1f} % |")


def row(asked: list[Asked], name: str) -> str:
    helped = [each for each in asked if each.gain >= HELPS]
    useless = [each for each in asked if each.gain < HELPS]
    spoken, silent = ([e.gain for e in asked if e.spoke is spoke] for spoke in (True, False))
    cells = [name, len(asked), len(helped), sum(e.spoke for e in helped)]
    cells += [len(useless), sum(e.spoke for e in useless), mean(spoken), mean(silent)]
    cells += [f"{fmean(e.probe_seconds for e in asked):.1f}"]
    cells += [f"{fmean(e.train_seconds for e in asked):.1f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def mean(gains: list[float]) -> str:
    return f"{fmean(gains):+.4f}" if gains else "–"


def probe_portal(seed: int, days: int) -> list[Asked]:
    """Ask on every day that has champions of all ages before it and a day after it."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_portal(Path(folder), seed, days)
        published = [publish_day(workspace, n) for n in range(days)]
        trained = [train_day(workspace, each) for each in published[: days - 1]]
        return [
            ask(workspace, seed, published, trained, today, age)
            for today in range(max(AGES), days - 1)
            for age in AGES
        ]


def make_portal(folder: Path, seed: int, days: int) -> Workspace:
    middle = days // 2 + 1
    shifts = (Shift("new_topic", middle), Shift("category_mix", middle))
    settings = SimulatorSettings(seed=seed, shifts=shifts)
    simulate(settings, out=folder / "logs", first_day=FIRST_DAY, days=days)
    portal = yaml.safe_load((Path(__file__).parents[1] / "pipelines.yaml").read_text())
    portal = portal["pipelines"]["portal"]
    portal["source"]["interactions"] = f"{folder}/logs/interactions/{{date}}/*.json.gz"
    portal["source"]["items"] = f"{folder}/logs/items/{{date}}.json.gz"
    portal["compute"]["pool"] = ""
    portal["finetune"]["adapter_epochs"] = (
        0  # what the head gains is measured in a tenth of the time
    )
    config = folder / "pipelines.yaml"
    config.write_text(yaml.safe_dump({"home": "./home", "pipelines": {"portal": portal}}))
    return open_workspace(config, "portal")


def publish_day(workspace: Workspace, n: int) -> Published:
    day = FIRST_DAY + timedelta(days=n)
    return publish.fn(workspace, ingest.fn(workspace, day), False)


def train_day(workspace: Workspace, published: Published) -> tuple[str, float]:
    """The day's challenger, and its seconds; a first day has no champion to be asked about."""
    trained = train.fn(workspace, published)
    asked = Trigger(retrain=True, reasons=["always"])
    return register.fn(workspace, published, trained, asked).version, trained.seconds


def ask(
    workspace: Workspace,
    seed: int,
    published: list[Published],
    trained: list[tuple[str, float]],
    today: int,
    age: int,
) -> Asked:
    champion, (challenger, seconds) = trained[today - age][0], trained[today]
    opinion = run_probe(workspace, published[today], champion, Probe())
    tomorrow = published[today + 1]
    rows = day_rows(workspace, tomorrow)
    context = published_context(workspace, rows, tomorrow)
    new, old = (score(load(workspace, each), rows, context) for each in (challenger, champion))
    gain = estimate_gain(new, old, rows["label"], rows["impression_id"], rows["user_id"])
    print(
        f"seed {seed} day {today + 1} age {age}: {gain.value:+.4f}; {opinion.words}",
        file=sys.stderr,
    )
    return Asked(
        seed,
        today + 1,
        age,
        opinion.spoke is True,
        gain.value,
        gain.standard_error,
        opinion.words,
        opinion.seconds,
        seconds,
    )


def fall_rates(days_vary: float, fall: float, users_vary: float = 0.006) -> dict[str, float]:
    """Share of days that a performance rule of max_drop 0.02 flags after a week, of 20,000."""
    rng, alarms, times = np.random.default_rng(11), 0, 20_000
    for _ in range(times):
        values = 0.7 + rng.normal(0, np.hypot(days_vary, users_vary), 8)
        history = [(float(value), users_vary) for value in values[:7]]
        found = measure_fall(float(values[7]) - fall, users_vary, history, confidence=0.95)
        alarms += found.drop > 0.02 and found.low > 0
    return {"days_vary": days_vary, "fall": fall, "alarms": alarms / times}


if __name__ == "__main__":
    main()
