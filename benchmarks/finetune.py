"""Candidate rows a second of few-shot fine-tuning: ours against the field's textbook recipe.

    python benchmarks/finetune.py [--data DIR] [--seconds N] [--json]

Both train on the same impressions of the MIND sample (2019-11-09 and the first 55 % of 11-10), with
the same encoder, and are judged on the same later impressions (the last 30 % of 11-10).

Ours is `tasks.recommender.finetune`, with the default recipe, which trains the
head alone, and with LoRA besides. Counted are
candidate rows × passes that the phases made over them, over the wall clock of the whole call: grouping,
histories, statistics, embedding every item into an empty cache, all passes with their validation,
calibration. A pass of the head's fit (`head_fit: map`) computes loss and gradient of all rows once, and
the fit under each of `wave_precisions` makes its own; those that choose the attention are not counted.
A second run finds the cache filled, as every day after the first does.

The textbook recipe is AutoModelForSequenceClassification over "history titles [SEP] candidate
title", padded to 128 tokens, all weights trained with AdamW at 2e-5, batch 16, binary cross entropy,
fp32. It is stopped after `--seconds` of steps; loading and tokenising are not counted against it.

Without the sample there is nothing to measure on, and the benchmark says so (exit code 2).
"""

import argparse
import json
import os
import sys
import tempfile
from datetime import date
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.environment import prepare_environment

sys.path.insert(0, str(Path(__file__).parent))
from few_shot_tasks import mind_items, mind_rows

BASE = "all-MiniLM-L6-v2"
FIRST, SECOND = date(2019, 11, 9), date(2019, 11, 10)
HISTORY_TITLES = 10
"""Newest titles that the textbook's input names; more do not fit 128 tokens."""


def main() -> int:
    """Measure, print one table or one JSON document; 2 if the data is missing."""
    arguments = _arguments()
    prepare_environment()
    if not (arguments.data / "behaviors.tsv").is_file():
        print(f"no MIND sample in {arguments.data}: set MIND_DIR or --data", file=sys.stderr)
        return 2
    rows, items = read_mind(arguments.data)
    results = measure(rows, items, arguments.seconds)
    print(json.dumps(results, indent=2) if arguments.json else table(results))
    return 0


def measure(rows: pa.Table, items: pa.Table, seconds: float) -> list[dict[str, Any]]:
    """One result for each way of training."""
    from tasks.recommender.context import Context
    from tasks.recommender.recipe import Lora, Recipe
    from tasks.recommender.shots import split_by_time
    from tasks.recommender.statistics import count_item_hours

    second = split_by_time(
        rows.filter(pc.equal(rows["event_date"], SECOND)),
        validation_share=0.15,
        holdout_share=0.3,
    )
    first = rows.filter(pc.equal(rows["event_date"], FIRST))
    shots = pa.concat_tables([first, second.shots])
    parts = shots, second.validation, second.holdout
    results = []
    with tempfile.TemporaryDirectory() as folder:
        context = Context(items, count_item_hours(rows), None, Path(folder))
        results.append({"way": "zero-shot", "holdout_auc": _zero_shot_auc(parts[2], context)})
        _forget(folder)
        for way, recipe in (
            ("ours, nothing cached", Recipe()),
            ("ours", Recipe()),
            ("ours, with LoRA", Recipe(tuning=Lora())),
        ):
            print(way, file=sys.stderr)
            results.append({"way": way, **_ours(parts, context, recipe)})
    print("the textbook recipe: training, then scoring the holdout", file=sys.stderr)
    results.append({"way": "textbook", **_textbook(shots, second.holdout, items, seconds)})
    for result in results:
        if "rows_per_second" in result:
            result["times"] = result["rows_per_second"] / results[-1]["rows_per_second"]
    return results


def _forget(folder: str) -> None:
    from shutil import rmtree

    for cache in Path(folder).iterdir():
        rmtree(cache)


def _zero_shot_auc(holdout: pa.Table, context: Any) -> float:
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.score import score

    return _auc(score(zero_shot(BASE), holdout, context), holdout)


def _ours(parts: tuple[pa.Table, pa.Table, pa.Table], context: Any, recipe: Any) -> dict[str, Any]:
    from tasks.recommender.finetune import finetune
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.score import score

    shots, validation, holdout = parts
    tuned = finetune(zero_shot(BASE), shots, validation, context, recipe)
    return {
        "rows_trained": tuned.rows,
        "seconds": tuned.seconds,
        "rows_per_second": tuned.rows_per_second,
        "holdout_auc": _auc(score(tuned.ranker, holdout, context), holdout),
        "kept": tuned.kept,
    }


def _textbook(
    shots: pa.Table, holdout: pa.Table, items: pa.Table, seconds: float
) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification

    from tasks.recommender.base import load_base

    base = load_base(BASE, precision="fp32")
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(str(base.folder), num_labels=1)
    model.to(base.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    order = np.random.default_rng(0).permutation(len(shots))
    labels = torch.from_numpy(shots["label"].to_numpy().astype(np.float32))
    encode = _Pairs(base.tokenizer, items, base.device)
    spent, trained = 0.0, 0
    for start, stop in pairwise(range(0, len(order), 16)):
        chosen = order[start:stop]
        batch = encode(shots.take(pa.array(chosen)))
        began = perf_counter()
        logits = model(**batch).logits.squeeze(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, labels[chosen].to(base.device)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        spent, trained = spent + perf_counter() - began, trained + len(chosen)
        if spent >= seconds:
            break
    model.eval()
    # Scoring is not what is timed; bf16 only makes the wait shorter.
    with torch.inference_mode(), torch.autocast(base.device, torch.bfloat16):
        scores = torch.cat(
            [
                model(**encode(holdout.slice(start, 64))).logits.squeeze(1)
                for start in range(0, len(holdout), 64)
            ]
        )
    return {
        "rows_trained": trained,
        "seconds": spent,
        "rows_per_second": trained / spent,
        "holdout_auc": _auc(scores.float().double().cpu().numpy(), holdout),
        "kept": "the last step",
    }


class _Pairs:
    """History titles and the candidate's title as the two segments of one input of 128 tokens."""

    def __init__(self, tokenizer: Any, items: pa.Table, device: str) -> None:
        titles = zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True)
        self._titles = dict(titles)
        self._tokenizer = tokenizer
        self._device = device

    def __call__(self, rows: pa.Table) -> Any:
        """Input tensors of some rows."""
        histories = [
            ". ".join(self._titles[entry["item_id"]] for entry in reversed(seen[-HISTORY_TITLES:]))
            for seen in rows["history"].to_pylist()
        ]
        candidates = [self._titles[item] for item in rows["item_id"].to_pylist()]
        return self._tokenizer(
            histories,
            candidates,
            truncation="only_first",
            padding="max_length",
            max_length=128,
            return_tensors="pt",
        ).to(self._device)


def _auc(scores: np.ndarray, rows: pa.Table) -> float:
    from tasks.evaluation.metrics import impression_auc

    return impression_auc(scores, rows["label"], rows["impression_id"])


def read_mind(folder: Path) -> tuple[pa.Table, pa.Table]:
    """The rows of the two days in time order, and the catalogue."""
    rows = mind_rows(folder / "behaviors.tsv", "sample")
    days = pa.array([FIRST, SECOND])
    return rows.filter(pc.is_in(rows["event_date"], days)), mind_items(folder / "news.tsv")


def table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| way | rows trained | seconds | rows/s | × textbook | holdout impression AUC | kept |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for result in results:
        if "rows_per_second" not in result:
            lines.append(f"| {result['way']} | | | | | {result['holdout_auc']:.4f} | |")
            continue
        lines.append(
            f"| {result['way']} | {result['rows_trained']:,} | {result['seconds']:.1f} "
            f"| {result['rows_per_second']:,.1f} | {result['times']:,.0f} "
            f"| {result['holdout_auc']:.4f} | {result['kept']} |"
        )
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    sample = os.environ.get("MIND_DIR", Path(__file__).parents[2] / "shared" / "data" / "mind")
    parser.add_argument("--data", type=Path, default=Path(sample), help="folder of the MIND sample")
    parser.add_argument("--seconds", type=float, default=120, help="of the textbook's steps")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
