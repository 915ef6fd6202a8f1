"""Position bias on simulated logs, whose true examination and relevance are known: found and removed?

    python benchmarks/propensity.py [--seeds 5] [--days 4] [--impressions 2000] [--json]

A portal whose readers look at position p with probability 1/p lays its slates out newest first
(age says nothing of relevance) or best first (by a ranker of its own, with noise). Asked, for each:

- How far is the estimated examination from the true one, at positions 1 to 10? Beside ours: the ratio of
  the positions' click rates, and regression-EM (Wang et al., WSDM 2018) with a logistic relevance
  of the item's smoothed click rate and the zero-shot ranker's score.
- How well does a head, trained on the clicks of all days but the last, rank the last day's slates by
  TRUE relevance: without weights, with those of the estimate, with those of the true curve? And what do
  AUC by clicks and the debiased AUC say of the same scores?
- Does it help besides to count expected examinations instead of impressions in the statistics?
- Are click rates fair to items that stood low? Those of the quarter of items that stood highest over
  those of the lowest quarter, each relative to its true relevance: 1 is fair.

The seeds are 1, 2, ...; the intervals are of the mean over them, by Student's t at 95 %.
"""

import argparse
import json
import sys
from datetime import date
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.environment import prepare_environment

FIRST = date(2026, 3, 2)
SIZE = 10
LAYOUTS = ("newest", "best")
EM_ROUNDS = 60


def main() -> int:
    """Measure, and print one table or one JSON document."""
    options = _arguments()
    prepare_environment()
    results: dict[str, list[dict[str, float]]] = {}
    with TemporaryDirectory() as folder:
        for layout in LAYOUTS:
            results[layout] = []
            for seed in range(1, options.seeds + 1):
                began = perf_counter()
                found = measure(layout, seed, options.days, options.impressions, Path(folder))
                results[layout].append({**found, "seconds": perf_counter() - began})
                print(f"{layout}, seed {seed}: {perf_counter() - began:.0f} s", file=sys.stderr)
    print(json.dumps({**vars(options), **results}, indent=2) if options.json else table(results))
    return 0


def measure(
    layout: str, seed: int, days: int, impressions: int, embeddings: Path
) -> dict[str, float]:
    """Every figure of one portal."""
    from tasks.recommender.context import Context
    from tasks.recommender.hybrid import zero_shot
    from tasks.recommender.propensity import (
        Examination,
        estimate_examination,
        inverse_propensity_weights,
    )
    from tasks.recommender.statistics import count_item_hours

    rows, catalogue = portal(layout, seed, days, impressions)
    clicks = rows.filter(pc.equal(rows["label"], 1))
    context = Context(catalogue, count_item_hours(rows), clicks, embeddings)
    start = zero_shot("all-MiniLM-L6-v2")
    prepared = start.prepare(rows, context)
    score = start.predict(prepared)
    early = np.asarray(rows["event_date"]) < np.asarray(rows["event_date"]).max()
    log = rows.filter(pa.array(early))
    by_item = estimate_examination(log["position"], log["label"], log["item_id"])
    ours = estimate_examination(log["position"], log["label"], log["item_id"], score[early])
    first = np.arange(1, SIZE + 1)
    curves = {
        "click rates": _click_rates(log),
        "regression-EM": regression_em(log, score[early]),
        "items": by_item.at(first),
        "items and scores": ours.at(first),
    }
    found = {
        f"largest error of examination, {name}": float(np.abs(c - 1 / first).max())
        for name, c in curves.items()
    }
    for place in (2, 3, 5, 10):
        found[f"estimate at position {place} (true {1 / place:.3f})"] = float(ours.at([place])[0])
    true = Examination(np.arange(1, 2 * SIZE + 1), 1 / np.arange(1, 2 * SIZE + 1))
    weighting = {"unweighted": None, "estimated weights": ours, "true weights": true}
    found |= rankers(prepared, rows, early, weighting, seed)
    fair = Context(catalogue, examined_hours(rows, ours), clicks, embeddings)
    relevance = rows["click_probability"].to_numpy() * rows["position"].to_numpy()
    weight = inverse_propensity_weights(rows["position"], rows["label"], ours)
    scored = _train(start.prepare(rows, fair), early, weight, seed)
    found["AUC against truth, estimated weights and statistics of examinations"] = true_auc(
        scored[~early], relevance[~early]
    )
    found |= click_rates(rows, ours)
    return found


def portal(layout: str, seed: int, days: int, impressions: int) -> tuple[pa.Table, pa.Table]:
    """Rows of all days with their true click probability, and the catalogue."""
    from tasks.interactions.schema import UTC_TIME
    from tasks.simulator.clicks import day_rows, find_level, item_ids
    from tasks.simulator.settings import SimulatorSettings
    from tasks.simulator.simulate import worlds
    from tasks.simulator.vocabulary import TOPICS

    settings = SimulatorSettings(
        seed=seed,
        slate_order=layout,  # type: ignore[arg-type]
        position_bias=1.0,
        impressions_per_day=impressions,
        slate_size=SIZE,
        num_users=300,
    )
    level = find_level(settings, FIRST)
    rows, items = [], {}
    for world in islice(worlds(settings, FIRST), days):
        day = day_rows(world, level)
        rows.append(day.append_column("event_date", pc.cast(day["event_time"], pa.date32())))
        born = world.changed
        names = item_ids(born.number).to_pylist()
        told = zip(names, born.topic, born.title, born.published, strict=True)
        # a rewritten text keeps its first title here: titles are read as of the first day
        for name, topic, title, published in told:
            items.setdefault(name, (title, TOPICS[topic].topic, int(published)))
    title, category, published = zip(*items.values(), strict=True)
    catalogue = {"item_id": list(items), "title": title, "category": category}
    return pa.concat_tables(rows), pa.table(
        {**catalogue, "published_at": pa.array(published, pa.int64()).cast(UTC_TIME)}
    )


def _click_rates(log: pa.Table) -> np.ndarray:
    position, clicked = log["position"].to_numpy(), log["label"].to_numpy()
    rate = np.bincount(position, clicked)[1 : SIZE + 1] / np.bincount(position)[1 : SIZE + 1]
    return rate / rate[0]


def regression_em(log: pa.Table, score: np.ndarray) -> np.ndarray:
    """Examination of the first positions, by Wang et al. (2018)."""
    from sklearn.linear_model import LogisticRegression

    item = pc.dictionary_encode(log["item_id"]).combine_chunks().indices.to_numpy()
    place, clicked = log["position"].to_numpy() - 1, log["label"].to_numpy().astype(float)
    rate = (np.bincount(item, clicked) + 1) / (np.bincount(item) + 8)
    features = np.stack([np.log(rate[item]), np.log(score / (1 - score))], axis=1)
    examined = np.full(place.max() + 1, 0.5)
    relevant = np.full(len(place), 0.4)
    twice, labels = np.tile(features, (2, 1)), np.repeat([1, 0], len(place))
    for _ in range(EM_ROUNDS):
        look, skip = examined[place], 1 - examined[place] * relevant
        looked = np.where(clicked, 1, look * (1 - relevant) / skip)
        suits = np.where(clicked, 1, (1 - look) * relevant / skip)
        examined = np.bincount(place, looked) / np.bincount(place)
        model = LogisticRegression().fit(twice, labels, np.concatenate([suits, 1 - suits]))
        relevant = model.predict_proba(features)[:, 1]
    return (examined / examined[0])[:SIZE]


def rankers(
    prepared: Any, rows: pa.Table, early: np.ndarray, curves: dict[str, Any], seed: int
) -> dict[str, float]:
    """AUC on the last day of a head trained on the days before, under each curve's weights."""
    from tasks.evaluation.debiased import debiased_impression_auc
    from tasks.evaluation.metrics import impression_auc
    from tasks.recommender.propensity import inverse_propensity_weights

    last = rows.filter(pa.array(~early))
    judged = last["label"].to_numpy(), last["impression_id"]
    relevance = last["click_probability"].to_numpy() * last["position"].to_numpy()
    examined = curves["estimated weights"].at(last["position"])
    found = {"AUC against truth, of the true relevance": true_auc(relevance, relevance)}
    for name, curve in curves.items():
        weight = np.ones(len(rows))
        if curve is not None:
            weight = inverse_propensity_weights(rows["position"], rows["label"], curve)
        score = _train(prepared, early, weight, seed)[~early]
        found[f"AUC against truth, {name}"] = true_auc(score, relevance)
        found[f"AUC by clicks, {name}"] = impression_auc(score, *judged)
        found[f"debiased AUC, {name}"] = debiased_impression_auc(score, *judged, examined)
    return found


def _train(prepared: Any, early: np.ndarray, weight: np.ndarray, seed: int) -> np.ndarray:
    """(N,) scores of the head that is most probable by the early days' clicks, each weighted."""
    import torch

    from tasks.recommender.head_fit import fit_head
    from tasks.recommender.hybrid import new_head
    from tasks.recommender.labelled import label_rows
    from tasks.recommender.recipe import Recipe

    head, recipe = new_head(seed=seed), Recipe(seed=seed)
    head.standardise_on(prepared.features)
    labels = label_rows(head, prepared, recipe, weight * early)
    fit_head(head, prepared, labels, recipe, precision=min(recipe.wave_precisions))
    found = np.empty(len(prepared.slates.order))
    with torch.inference_mode():
        found[prepared.slates.order] = head.rank(prepared.features).double().cpu().numpy()
    return found


def true_auc(scores: np.ndarray, relevance: np.ndarray) -> float:
    """Chance that a pair of one relevant and one irrelevant candidate of a slate is ranked right."""
    score, relevant = scores.reshape(-1, SIZE), relevance.reshape(-1, SIZE)
    pair = relevant[:, :, None] * (1 - relevant[:, None, :])
    pair[:, range(SIZE), range(SIZE)] = 0
    apart = np.sign(score[:, :, None] - score[:, None, :])
    return float((pair * (1 + apart) / 2).sum() / pair.sum())


def click_rates(rows: pa.Table, curve: Any) -> dict[str, float]:
    """How much better than deserved the click rate of items that stood high is."""
    item = pc.dictionary_encode(rows["item_id"]).combine_chunks().indices.to_numpy()
    position, clicked = rows["position"].to_numpy(), rows["label"].to_numpy()
    shown, looked = np.bincount(item), np.bincount(item, 1 / position)
    wanted = np.bincount(item, rows["click_probability"].to_numpy() * position)
    height = looked / shown
    low, high = (height <= np.quantile(height, 0.25)), (height >= np.quantile(height, 0.75))
    found = {}
    for name, counted in (("impressions", shown), ("examinations", curve.at(position))):
        by_item = counted if name == "impressions" else np.bincount(item, counted)
        clicks = np.bincount(item, clicked)
        of = [
            clicks[part].sum() / by_item[part].sum() / (wanted[part].sum() / shown[part].sum())
            for part in (high, low)
        ]
        found[f"click rate over {name}"] = float(of[0] / of[1])
    return found


def examined_hours(rows: pa.Table, curve: Any) -> pa.Table:
    """ITEM_HOURS whose impressions are expected examinations, as many in all as there were rows."""
    examined = curve.at(rows["position"])
    hourly = pa.table(
        {
            "event_date": rows["event_date"],
            "hour": pc.floor_temporal(rows["event_time"], unit="hour"),
            "item_id": rows["item_id"],
            "impressions": examined * len(rows) / examined.sum(),
            "clicks": rows["label"],
        }
    )
    keys = ["event_date", "hour", "item_id"]
    counted = hourly.group_by(keys).aggregate([("impressions", "sum"), ("clicks", "sum")])
    return counted.rename_columns([*keys, "impressions", "clicks"])


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """The results as a Markdown table: mean and 95 % interval over the seeds."""
    lines = [f"| | {' | '.join(f'{layout} first' for layout in results)} |"]
    lines.append("|---|" + "---:|" * len(results))
    for name in next(iter(results.values()))[0]:
        cells = [_interval([found[name] for found in runs]) for runs in results.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(values: list[float]) -> str:
    from scipy.stats import t

    if len(values) < 2:
        return f"{values[0]:.3f}"
    reach = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.3f} ± {reach:.3f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--impressions", type=int, default=2000, help="on an average day")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
