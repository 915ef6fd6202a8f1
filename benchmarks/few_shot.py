"""AUC after few labelled impressions, on the tasks that the field publishes.

    python benchmarks/few_shot.py --task tallrec|collm|mind [--data DIR] [--train F] [--valid F] [--test F]
                                  [--shots 16 64 256] [--seeds 5] [--json]

tallrec   TALLRec's MovieLens-100K task: `train` shuffled by the seed, its first 16, 64, 256 rows; pooled AUC
          on `valid`. A `.csv` beside the `.json` gives ids and times. Split by user, not by time: so there
          are no behaviour statistics, and what a shot's history says is all that is known of its user.
collm     CoLLM's MovieLens-1M task: all of `train` (`--shots` takes a random part); pooled AUC on `valid`.
          Twice: `frozen`, with histories as the file has them (likes) and statistics of `train` alone; and
          `served`, where the user's earlier answers and the completed hours' statistics are known, as they
          are to a served model.
mind      each of the last three days from the days before it: all of them, and `--shots` impressions drawn
          by the seed. Mean AUC within impressions, statistics no fresher than the last full hour.

Files of the same format can stand in for each. `--test` is judged beside `valid`. One setting serves all
tasks: `Recipe()`, what pipelines.yaml has by default. A row's seconds are those of its fine-tuning, encoding
of texts left out (every item is encoded once, before); rows/s are candidate rows trained on in them.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.environment import prepare_environment

sys.path.insert(0, str(Path(__file__).parent))
from few_shot_tasks import Judged, Task, load_task

FILES = {
    "tallrec": ("tallrec_movie", "train.json", "valid.json"),
    "collm": ("collm_ml1m", "train.parquet", "valid.parquet"),
    "mind": ("mind", "behaviors.tsv", ""),
}
VALIDATION_SHARE = 0.15
"""Of the newest shots, to choose by; too few of them are shots instead (`finetune` decides)."""
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    task: str
    judged: str
    shots: str
    seeds: int
    zero_shot: float
    auc: float
    deviation: float
    low: float
    high: float
    above_zero_shot: int
    """Seeds whose AUC is above zero-shot's."""
    seconds: float
    rows_per_second: float


def main() -> int:
    """Measure, print one table or one JSON document; 2 if the data is missing."""
    arguments = _arguments()
    prepare_environment()
    folder, train, valid = FILES[arguments.task]
    data = arguments.data or Path(__file__).parents[2] / "shared" / "data" / folder
    files = {
        "train": arguments.train or data / train,
        "valid": arguments.valid or (data / valid if valid else None),
        "test": arguments.test,
    }
    missing = [str(file) for file in files.values() if file is not None and not file.is_file()]
    if missing:
        print(f"no file {', '.join(missing)}: name a folder with --data, or files", file=sys.stderr)
        return 2
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for task in load_task(arguments.task, data, files):
            for row in measure(task, arguments.shots, arguments.seeds, Path(cache)):
                rows.append(row)
                if not arguments.json:
                    print(line(row) if len(rows) > 1 else f"{HEADER}\n{line(row)}", flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    return 0


def measure(task: Task, shots: list[int], seeds: int, cache: Path) -> Iterator[Row]:
    """The task's rows: each number of shots, and all of them where the task asks for it."""
    from tasks.recommender.hybrid import zero_shot

    start = zero_shot("all-MiniLM-L6-v2")
    task = replace(task, context=replace(task.context, embeddings_folder=cache))
    start.prepare(task.train, task.context)
    baselines = [judge(start, judged, task) for judged in task.judged]
    for number in [*(shots if task.few else ()), *((None,) if task.whole else ())]:
        runs = []
        for seed in range(seeds):
            tuned = tune(task, start, number, seed)
            aucs = [judge(tuned.ranker, judged, task) for judged in task.judged]
            runs.append((aucs, tuned.seconds, tuned.rows))
        for place, judged in enumerate(task.judged):
            found = np.array([aucs[place] for aucs, _, _ in runs])
            seconds = float(np.mean([seconds for _, seconds, _ in runs]))
            rows = float(np.mean([rows for _, _, rows in runs]))
            spread = float(found.std(ddof=1)) if len(found) > 1 else 0.0
            half = T_975.get(len(found) - 1, 1.96) * spread / math.sqrt(len(found))
            yield Row(
                task.name,
                judged.name,
                "all" if number is None else f"{number:,}",
                len(found),
                baselines[place],
                float(found.mean()),
                spread,
                float(found.mean()) - half,
                float(found.mean()) + half,
                int((found > baselines[place]).sum()),
                seconds,
                rows / seconds,
            )


def tune(task: Task, start: Any, number: int | None, seed: int) -> Any:
    """Fine-tune on `number` impressions drawn by the seed, or on all; the newest ones choose."""
    from tasks.recommender.rankers.choose import finetune_ranker
    from tasks.recommender.recipe import Recipe
    from tasks.recommender.shots import split_by_time

    shots = task.train if number is None else draw(task.train, number, seed)
    parts = split_by_time(shots, validation_share=VALIDATION_SHARE, holdout_share=0.0)
    began = perf_counter()
    recipe = Recipe(seed=seed)
    tuned = finetune_ranker(start, parts.shots, parts.validation, task.context, recipe)
    return replace(tuned, seconds=perf_counter() - began)


def draw(rows: pa.Table, number: int, seed: int) -> pa.Table:
    """The first `number` impressions of `rows` after a shuffle by `seed`."""
    ids = rows["impression_id"].combine_chunks().unique()
    chosen = np.random.default_rng(seed).permutation(len(ids))[:number]
    return rows.filter(pc.is_in(rows["impression_id"], ids.take(pa.array(chosen))))


def judge(ranker: Any, judged: Judged, task: Task) -> float:
    from tasks.evaluation.metrics import impression_auc, pooled_auc
    from tasks.recommender.score import score

    scores = score(ranker, judged.rows, task.context)
    labels = judged.rows["label"]
    if task.within:
        return impression_auc(scores, labels, judged.rows["impression_id"])
    return pooled_auc(scores, labels)


HEADER = (
    "| task | judged on | shots | seeds | zero-shot AUC | AUC | sd | 95 % interval | above zero-shot "
    "| seconds | rows/s |\n|---|---|---:|---:|---:|---:|---:|---|---:|---:|---:|"
)


def line(row: Row) -> str:
    """A row of the Markdown table."""
    interval = f"{row.low:.4f} to {row.high:.4f}" if row.seeds > 1 else "one seed"
    return (
        f"| {row.task} | {row.judged} | {row.shots} | {row.seeds} | {row.zero_shot:.4f} | {row.auc:.4f} "
        f"| {row.deviation:.4f} | {interval} | {row.above_zero_shot} of {row.seeds} | {row.seconds:.1f} "
        f"| {row.rows_per_second:,.0f} |"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--task", choices=sorted(FILES), required=True)
    parser.add_argument("--data", type=Path, help="folder of the task's files")
    for name in ("train", "valid", "test"):
        parser.add_argument(f"--{name}", type=Path, help=f"a file instead of the folder's {name}")
    parser.add_argument("--shots", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
