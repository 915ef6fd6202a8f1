"""How far the shares of a column's values have moved: Jensen-Shannon distance, and in words.

Shapes: B groups of values.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tasks.drift import measures, numbers, predictions
from tasks.drift.effect import Effect
from tasks.drift.measures import Shares
from tasks.drift.mix import Mix
from tasks.drift.numbers import Numbers
from tasks.drift.predictions import Predictions
from tasks.drift.words import moved

PARTS = 10
"""Groups that an ordered column is cut into."""

MIN_EXPECTED = 5.0
"""Rows that a value must be expected to have on either side; the values below are one group."""

OTHERS = "(others)"


class Counted(NamedTuple):
    """One side of a comparison."""

    rows: Shares
    """(B,)"""
    spread: Shares
    """(B,) sampling variance of `rows`."""


def of_values(column: str, reference: Mix, current: Mix, unit: str) -> Effect:
    """An open set of values, each a group of its own if it is frequent enough."""
    values = sorted({*reference.values, *current.values})
    both = reference.rows_of(values) + current.rows_of(values)
    expected = both * min(reference.total, current.total) / (reference.total + current.total)
    common = np.flatnonzero(expected >= MIN_EXPECTED)
    names = [values[i] for i in common]
    return js_distance(
        column, [*names, OTHERS], _counted(reference, names), _counted(current, names), unit
    )


def of_whole_numbers(column: str, reference: Mix, current: Mix, unit: str) -> Effect:
    """An ordered column, in groups that hold about as much each in the reference."""
    rows = dict(zip(map(int, reference.values), reference.rows.tolist(), strict=True))
    edges = measures.quantile_edges(rows, PARTS)
    labels = _labels(column, edges)
    before, now = (
        Counted(*(_summed(mix, each, edges) for each in (mix.rows, mix.spread)))
        for mix in (reference, current)
    )
    return js_distance(column, labels, before, now, unit)


def of_numbers(column: str, reference: Numbers, current: Numbers, unit: str) -> Effect:
    """A numeric column, in groups between quantiles of the reference."""
    groups = numbers.cut(reference, current, PARTS)
    labels = [f"{column} {name}" for name in groups.labels]
    before, now = _drawn(groups.before, reference.units), _drawn(groups.now, current.units)
    error = reference.share_error**2 + current.share_error**2
    effect = js_distance(column, labels, before, now, unit, error)
    means = f"mean {current.mean:.3g}, was {reference.mean:.3g}"
    return replace(effect, words=f"{effect.words}; {means}")


def of_predictions(
    reference: Predictions, current: Predictions, units: tuple[float, float]
) -> Effect:
    """One model's predictions, in groups that hold about as much each in the reference.

    Args:
        units: independent observations on either side.
    """
    bins = np.flatnonzero(reference.rows).tolist()
    edges = measures.quantile_edges({number: reference.rows[number] for number in bins}, PARTS)
    groups = np.searchsorted(edges, np.arange(predictions.BINS), side="right")
    before, now = (
        _drawn(measures.sums(groups, side.rows, len(edges) + 1) / side.rows.sum(), size)
        for side, size in zip((reference, current), units, strict=True)
    )
    names = [predictions.label(low, high) for low, high in pairwise([0, *edges, predictions.BINS])]
    return js_distance("predictions", names, before, now, "of candidates")


def js_distance(
    column: str,
    labels: Sequence[str],
    before: Counted,
    now: Counted,
    unit: str,
    error: float = 0.0,
) -> Effect:
    """Root of the Jensen-Shannon divergence of two sides' shares.

    Under no change it is about Σ λ χ²₁ / (8 ln 2) with λ = variance of a share's difference over
    the share: Lin's divergence is a quarter of χ² to second order (Rao & Scott 1981: how a design
    that draws whole impressions weighs χ²).

    Args:
        error: variance that sketches add to the difference of a share.
    """
    n, m = before.rows.sum(), now.rows.sum()
    there = before.rows + now.rows > 0
    labels = [name for name, kept in zip(labels, there, strict=True) if kept]
    (first, first_spread), (second, second_spread) = (
        (rows[there], spread[there]) for rows, spread in (before, now)
    )
    p, q = first / n, second / m
    pooled = (first + second) / (n + m)
    simple = n * p * (1 - p) + m * q * (1 - q)
    design = np.divide(
        first_spread + second_spread, simple, out=np.ones_like(simple), where=simple > 0
    )
    weights = design * (1 - pooled) * (1 / n + 1 / m) + error / pooled
    return Effect(
        column,
        "JS distance",
        math.sqrt(measures.jensen_shannon(p, q)),
        math.sqrt(weights.sum() / (8 * math.log(2))),
        moved(labels, p, q, unit),
        measures.effective_degrees(weights),
    )


def _counted(mix: Mix, names: Sequence[str]) -> Counted:
    rows, spread = mix.rows_of(names), mix.spread_of(names)
    return Counted(
        np.append(rows, max(mix.total - rows.sum(), 0.0)),
        np.append(spread, max(mix.spread.sum() - spread.sum(), 0.0) + mix.others),
    )


def _summed(mix: Mix, weights: Shares, edges: list[int]) -> Shares:
    groups = np.searchsorted(edges, [int(value) for value in mix.values], side="right")
    return measures.sums(groups, weights, len(edges) + 1)


def _drawn(shares: Shares, units: float) -> Counted:
    """Shares of so many draws, each by itself."""
    return Counted(shares * units, shares * (1 - shares) * units)


def _labels(column: str, edges: list[int]) -> list[str]:
    middle = [
        f"{low}" if low + 1 == high else f"{low} to {high - 1}" for low, high in pairwise(edges)
    ]
    names = [f"below {edges[0]}", *middle, f"from {edges[-1]}"]
    return [f"{column} {name}" for name in names]
