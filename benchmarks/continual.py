"""Day by day: the model carried on with each day's own shots, against retraining on all days so far.

    python benchmarks/continual.py [--data DIR] [--seeds 3] [--ways NAME ...] [--json]

The MIND sample, 2019-11-09 to 11-13. After each day but the last a model is trained, and judged on the
whole next day (prequential): mean AUC within impressions, statistics no fresher than the last full hour.

retrained      from the zero-shot score, on all days so far
carried        from yesterday's model, on the day's shots alone
carried, λ     the same, under a prior around yesterday's head that is firmer than the first day's: the head
               of d days has seen d times as many shots, so its precision is d × that of the recipe
               (the posterior becomes the prior; Kirkpatrick et al. 2017 with one number for the Fisher)
replay         from yesterday's model, on the day's shots and as many again, drawn from the days before
head alone     carried, replay and retrained without the phase that trains the network

The first day is the same for all and has nothing to carry on, so it is left out. Seconds are the
processor's, for
fine-tuning; texts are encoded before.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.environment import prepare_environment

sys.path.insert(0, str(Path(__file__).parent))
from few_shot import VALIDATION_SHARE, draw, judge
from few_shot_tasks import Judged, Task, load_task

BASE = "all-MiniLM-L6-v2"
HEAD_ALONE = ", head alone"


@dataclass(frozen=True)
class Way:
    """How a day's model comes about."""

    name: str
    carried: bool
    """From yesterday's model, rather than from the zero-shot score."""
    replay: float
    """Impressions of earlier days for each of the day's own; infinite takes all."""
    firmer: bool = False
    """Whether the prior's precision grows with the days behind it."""
    network: bool = True


WAYS = (
    Way("retrained", carried=False, replay=np.inf),
    Way("carried", carried=True, replay=0),
    Way("carried, λ", carried=True, replay=0, firmer=True),
    Way("replay", carried=True, replay=1),
    Way("replay, λ", carried=True, replay=1, firmer=True),
    Way("retrained, head alone", carried=False, replay=np.inf, network=False),
    Way("carried, head alone", carried=True, replay=0, network=False),
    Way("carried, λ, head alone", carried=True, replay=0, firmer=True, network=False),
    Way("replay, head alone", carried=True, replay=1, network=False),
)


def main() -> int:
    """Measure, print one table or one JSON document; 2 if the data is missing."""
    arguments = _arguments()
    prepare_environment()
    file = arguments.data / "behaviors.tsv"
    if not file.is_file():
        print(f"no file {file}: name the MIND sample's folder with --data", file=sys.stderr)
        return 2
    ways = [way for way in WAYS if arguments.ways is None or way.name in arguments.ways]
    with tempfile.TemporaryDirectory() as cache:
        days, task = _days(arguments.data, file, Path(cache))
        runs = {
            way.name: [carry_on(way, days, task, seed) for seed in range(arguments.seeds)]
            for way in ways
        }
    found = summary(runs)
    print(json.dumps(found, indent=2) if arguments.json else table(found))
    return 0


def carry_on(way: Way, days: list[pa.Table], task: Task, seed: int) -> dict[str, Any]:
    """AUC of each next day, seconds of each day's training, and what was kept."""
    from tasks.recommender.finetune import finetune
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.recipe import HeadOnly, Lora, Recipe
    from tasks.recommender.shots import split_by_time

    first = model = zero_shot(BASE)
    for day in days:
        first.prepare(day, task.context)
    plain = Recipe(seed=seed, tuning=Lora() if way.network else HeadOnly())
    aucs, seconds, kept = [], [], []
    for number, (day, following) in enumerate(pairwise(days)):
        parts = split_by_time(day, validation_share=VALIDATION_SHARE, holdout_share=0.0)
        shots = pa.concat_tables([*_replayed(way, days[:number], seed), parts.shots])
        times = number if way.firmer and number else 1
        precisions = tuple(times * precision for precision in plain.wave_precisions)
        began = process_time()
        tuned = finetune(
            model if way.carried else first,
            shots,
            parts.validation,
            task.context,
            replace(plain, wave_precisions=precisions),
        )
        seconds.append(process_time() - began)
        kept.append(tuned.kept)
        model = tuned.ranker
        aucs.append(judge(model, Judged("next", following), task))
        told = f"{way.name}, seed {seed}: {kept[-1]}, {aucs[-1]:.4f}, {seconds[-1]:.1f} s"
        print(told, file=sys.stderr, flush=True)
    return {"aucs": aucs, "seconds": seconds, "kept": kept}


def _replayed(way: Way, before: list[pa.Table], seed: int) -> list[pa.Table]:
    """Impressions of the days before: all, or so many times those of one of them."""
    from tasks.recommender.shots import count_impressions

    if not before or not way.replay:
        return []
    rows = pa.concat_tables(before)
    if np.isinf(way.replay):
        return before
    return [draw(rows, round(way.replay * count_impressions(rows) / len(before)), seed)]


def summary(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row each: means over seeds, beside retraining of the same parts on the same days and seeds."""
    rows = []
    for name, mine in runs.items():
        retrained = "retrained" + HEAD_ALONE * name.endswith(HEAD_ALONE)
        base = _means(runs[retrained]) if retrained in runs else None
        aucs, seconds = _means(mine)
        apart = None if base is None else float(aucs.mean() - base[0].mean())
        share = None if base is None else seconds / base[1]
        row = {"way": name, "aucs": aucs.tolist(), "auc": float(aucs.mean()), "seconds": seconds}
        kept = [run["kept"] for run in mine]
        rows.append({**row, "difference": apart, "share_of_seconds": share, "kept": kept})
    return rows


def _means(runs: list[dict[str, Any]]) -> tuple[Any, float]:
    aucs = np.array([run["aucs"][1:] for run in runs]).mean(0)
    return aucs, float(np.mean([sum(run["seconds"][1:]) for run in runs]))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    days = len(rows[0]["aucs"])
    head = " | ".join(f"day {13 - days + number + 1}" for number in range(days))
    lines = [
        f"| way | {head} | mean | difference | seconds | share |",
        "|---|" + "---:|" * (days + 4),
    ]
    for row in rows:
        aucs = " | ".join(f"{auc:.4f}" for auc in row["aucs"])
        told = ["", ""]
        if row["difference"] is not None:
            told = [f"{row['difference']:+.4f}", f"{row['share_of_seconds']:.0%}"]
        lines.append(
            f"| {row['way']} | {aucs} | {row['auc']:.4f} | {told[0]} | {row['seconds']:.1f} | {told[1]} |"
        )
    return "\n".join(lines)


def _days(data: Path, file: Path, cache: Path) -> tuple[list[pa.Table], Task]:
    """The rows of each day, and the task that says how they are judged."""
    *_, task = load_task("mind", data, {"train": file})
    everything = pa.concat_tables([task.train, *(judged.rows for judged in task.judged)])
    dates: list[date] = sorted(pc.unique(everything["event_date"]).to_pylist())
    days = [everything.filter(pc.equal(everything["event_date"], day)) for day in dates]
    return days, replace(task, context=replace(task.context, embeddings_folder=cache))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    sample = Path(__file__).parents[2] / "shared" / "data" / "mind"
    parser.add_argument("--data", type=Path, default=sample, help="folder of the MIND sample")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=[way.name for way in WAYS])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
