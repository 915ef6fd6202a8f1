"""Each option of the recipe by itself, on against off, around the default: what does it bring, and cost?

    python benchmarks/ablation.py [--data DIR] [--tasks tallrec mind] [--seeds 3] [--only NAME ...] [--json]

tallrec   64 shots of TALLRec's MovieLens task, drawn from `train`; pooled AUC on `valid`.
mind      256 impressions of all days but the last, judged on the last: mean AUC within impressions.

A row is the default recipe but for one knob, on the same seeds and shots as its reference; the difference is
paired by seed, ± its standard error, and called clear where Student's t at 95 % leaves no 0. With few
seeds little is. Seconds are the processor's, of all its cores, for choosing shots and
fine-tuning; texts of the data are encoded before.

The default trains the head alone, so what concerns the network is compared with `tuning: lora`. 64 shots of
candidates that come alone judge nothing: on tallrec they all fit the head, by cross-fitting. There the rows
of the network are given 100 more impressions, to judge by alone (`learn_validation: false`), and so
is their reference; `tuning: head` is the head alone on the same terms. On mind 15 % of the shots judge.

A network is kept only where it ranks the validation clearly better than the head alone; else the row's AUC
is the reference's. `kept` says whose state it was, seed by seed. What the network learned can be
seen all the same: `network − head` is the validation AUC of its best epoch less that of the head alone.

Selection chooses from a pool of eight times as many impressions, none newer than the reference's shots; who
judges is drawn evenly, and stays as logged.

Left out: `prompt`, whose quality is open (MiniLM as published has no masked-LM head; it is shown correct
on tiny models by the tests); `cross_encoder` on mind, where judging 40,000 pairs of texts takes longer
than all other rows; synonyms and pretraining by a masked LM and back-translation, for want of such models;
`propensity`, which needs positions (`propensity.py`); item prior, waves, attention and unrolled
histories, which no knob turns off.
"""

import argparse
import json
import math
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.environment import prepare_environment
from tasks.errors import PipelineError

sys.path.insert(0, str(Path(__file__).parent))
from ablation_options import HEAD, NETWORK, TASKS, Option, options
from few_shot import FILES, T_975, VALIDATION_SHARE, draw, judge
from few_shot_tasks import Task, load_task

BASE = "all-MiniLM-L6-v2"
SHOTS = {"tallrec": 64, "mind": 256}
JUDGES = 100
"""Impressions of one candidate that judge the network on tallrec."""
POOL = 8
"""Impressions that a policy chooses from, for each shot."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    task: str
    option: str
    against: str
    aucs: list[float]
    """By seed."""
    difference: float
    """Mean over the seeds, to the reference."""
    error: float
    """Its standard error."""
    clear: bool
    kept: str
    network: float | None
    """Mean validation AUC of the network's best epoch less that of the head alone."""
    seconds: float


def main() -> int:
    """Measure, print one table or one JSON document; 2 if the data is missing."""
    arguments = _arguments()
    prepare_environment()
    chosen = [option for option in options() if _asked(option, arguments.only)]
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name in arguments.tasks:
            task = _task(name, arguments.data, Path(cache))
            if task is None:
                return 2
            rows += ablate(name, task, chosen, arguments.seeds)
    print(json.dumps([asdict(row) for row in rows], indent=2) if arguments.json else table(rows))
    return 0


def ablate(name: str, task: Task, chosen: list[Option], seeds: int) -> list[Row]:
    """The task's rows; an option that fails says why on stderr and has none."""
    references: dict[str, list[float]] = {}
    rows = []
    for option in chosen:
        if name not in option.tasks:
            continue
        both = name == "mind" and option.name == NETWORK
        against = HEAD if both else option.against
        began = perf_counter()
        try:
            runs = [run(name, task, option, seed) for seed in range(seeds)]
        except PipelineError as error:
            print(f"{name}: {option.name}: {error}", file=sys.stderr, flush=True)
            continue
        references.setdefault(option.name, [auc for auc, _, _ in runs])
        rows.append(_row(name, option.name, against, runs, references[against]))
        spent = perf_counter() - began
        print(f"{name}: {option.name}: {spent:.0f} s in all", file=sys.stderr, flush=True)
    return rows


def run(name: str, task: Task, option: Option, seed: int) -> tuple[float, Any, float]:
    """AUC, what fine-tuning tells, and its seconds."""
    from tasks.recommender.rankers.choose import finetune_ranker
    from tasks.recommender.shots import split_by_time

    recipe = replace(option.recipe, seed=seed)
    start = _start(recipe.ranker)
    start.prepare(task.train, task.context) if hasattr(start, "prepare") else None
    began = process_time()
    drawn = draw(task.train, SHOTS[name], seed)
    if name == "tallrec" and NETWORK in (option.name, option.against):
        validation = _others(task.train, drawn, JUDGES, seed)
        recipe = replace(recipe, learn_validation=False)
        shots = choose_shots(task, option, drawn, seed)
    else:
        parts = split_by_time(drawn, validation_share=VALIDATION_SHARE, holdout_share=0.0)
        shots, validation = choose_shots(task, option, parts.shots, seed), parts.validation
    tuned = finetune_ranker(start, shots, validation, task.context, recipe)
    seconds = process_time() - began
    return judge(tuned.ranker, task.judged[-1], task), tuned, seconds


def _others(rows: pa.Table, shots: pa.Table, number: int, seed: int) -> pa.Table:
    """`number` impressions that are no shots."""
    taken = pc.is_in(rows["impression_id"], shots["impression_id"].combine_chunks().unique())
    return draw(rows.filter(pc.invert(taken)), number, seed)


def choose_shots(task: Task, option: Option, drawn: pa.Table, seed: int) -> pa.Table:
    """As many shots as were drawn, chosen by the option's selection from a pool as old; else those."""
    from tasks.recommender.labels.negatives import keep_negatives
    from tasks.recommender.labels.policies import choose, replayed
    from tasks.recommender.shots import count_impressions

    selection = option.recipe.selection
    if option.selection:
        number, latest = count_impressions(drawn), pc.max(drawn["event_time"])
        known = task.train.filter(pc.less_equal(task.train["event_time"], latest))
        pool = draw(known, POOL * number, seed)
        if option.selection == "herding":
            return replayed(pool, number, _evidence(task))
        return choose(pool, number, selection.policy, _evidence(task), seed)
    if not selection.negatives:
        return drawn
    return keep_negatives(
        drawn,
        _start(option.recipe.ranker).probabilities(drawn, task.context),
        negatives=selection.negatives,
        hardness=selection.hardness,
        seed=seed,
    )


def _evidence(task: Task) -> Any:
    """What a policy may ask of the zero-shot ranker; drift is that of the newest day."""
    from tasks.recommender.labels.classes import category_shift
    from tasks.recommender.labels.evidence import Evidence, impression_vectors

    start, catalogue = _start(options()[0].recipe.ranker), task.context.catalogue

    def vectors(rows: pa.Table) -> Any:
        prepared = start.prepare(rows, task.context)
        return impression_vectors(prepared.slates, prepared.items.vectors)

    shift = None
    if "category" in catalogue.column_names:
        newest = pc.equal(task.train["event_date"], pc.max(task.train["event_date"]))
        before, now = task.train.filter(pc.invert(newest)), task.train.filter(newest)
        shift = category_shift(before, now, catalogue)
    return Evidence(
        catalogue=catalogue if "category" in catalogue.column_names else None,
        probabilities=lambda rows: start.probabilities(rows, task.context),
        vectors=vectors,
        shift=shift,
    )


@lru_cache
def _start(kind: Any) -> Any:
    from tasks.recommender.rankers.choose import zero_shot_ranker

    return zero_shot_ranker(kind, BASE)


def _row(
    task: str, option: str, against: str, runs: list[tuple[float, Any, float]], base: list[float]
) -> Row:
    aucs = np.array([auc for auc, _, _ in runs])
    apart = aucs - np.array(base)
    error = float(apart.std(ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
    clear = len(apart) > 1 and abs(apart.mean()) > T_975.get(len(apart) - 1, 1.96) * error
    kept = Counter(tuned.kept.split(",")[0] for _, tuned, _ in runs)
    gains = [gain for _, tuned, _ in runs if (gain := _network_gain(tuned)) is not None]
    return Row(
        task,
        option,
        "" if option == against else against,
        aucs.tolist(),
        float(apart.mean()),
        error,
        bool(clear and apart.any()),
        ", ".join(f"{words} {number}" for words, number in kept.most_common()),
        float(np.mean(gains)) if gains else None,
        float(np.mean([seconds for _, _, seconds in runs])),
    )


def _network_gain(tuned: Any) -> float | None:
    """Validation AUC of the network's best epoch less the best before it; None where none ran."""
    best: dict[bool, float] = {}
    for record in tuned.epochs:
        network = record.phase in ("adapter", "network")
        if record.validation_auc is not None:
            best[network] = max(best.get(network, 0.0), record.validation_auc)
    return best[True] - best[False] if len(best) == 2 else None


def table(rows: list[Row]) -> str:
    """The rows as Markdown tables, one for each task."""
    lines = []
    for task in dict.fromkeys(row.task for row in rows):
        lines += [
            f"\n{task}, {SHOTS[task]} shots\n",
            "| option | AUC | difference | ± | clear | against | kept | network − head | seconds |",
            "|---|---:|---:|---:|---|---|---|---:|---:|",
        ]
        lines += [_line(row) for row in rows if row.task == task]
    return "\n".join(lines).lstrip()


def _line(row: Row) -> str:
    network = "" if row.network is None else f"{row.network:+.4f}"
    apart = f"{row.difference:+.4f} | {row.error:.4f}" if row.against else " | "
    told = ("better" if row.difference > 0 else "worse") if row.clear else "no"
    verdict = told if row.against else ""
    return (
        f"| {row.option} | {np.mean(row.aucs):.4f} | {apart} | {verdict} | {row.against} | {row.kept} "
        f"| {network} | {row.seconds:.1f} |"
    )


def _task(name: str, data: Path | None, cache: Path) -> Task | None:
    """The task, of several judged days the last; None, and why, if a file is missing."""
    folder, train, valid = FILES[name]
    data = (data or Path(__file__).parents[2] / "shared" / "data") / folder
    files = {"train": data / train, "valid": data / valid if valid else None, "test": None}
    missing = [str(file) for file in files.values() if file is not None and not file.is_file()]
    if missing:
        print(f"no file {', '.join(missing)}: name a folder with --data", file=sys.stderr)
        return None
    *_, task = load_task(name, data, files)
    return replace(task, context=replace(task.context, embeddings_folder=cache))


def _asked(option: Option, only: list[str] | None) -> bool:
    """Whether an option is to be run: named in part, or a reference, without which nothing compares."""
    return (
        only is None or option.name in (HEAD, NETWORK) or any(word in option.name for word in only)
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="folder of tallrec_movie and mind")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="parts of options' names")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
