"""How far rates have moved: clicks over candidates, clicks over what a model expected.

Shapes: G groups, such as categories.
"""

import math
from typing import NamedTuple

import numpy as np

from tasks.drift import measures, predictions
from tasks.drift.effect import Effect
from tasks.drift.measures import Rate, Shares
from tasks.drift.mix import Mix
from tasks.drift.predictions import Predictions
from tasks.drift.profile import Profile
from tasks.drift.words import percent

MIN_HITS = 10.0
"""Clicks that a group must be expected to have on either side; those below are one group."""


class Rates(NamedTuple):
    """One side of a comparison by group."""

    hits: Shares
    """(G,)"""
    base: Shares
    """(G,) what they are a share of: candidates, or expected clicks."""
    design: float
    """Variance of the hits over that of as many drawn one by one."""


def click_rate(reference: Profile, current: Profile) -> Effect:
    """Clicks over candidates, of all: |ln| of the ratio."""
    ratio = measures.log_ratio(
        Rate(reference.clicks, reference.rows, design(reference)),
        Rate(current.clicks, current.rows, design(current)),
    )
    before, now = reference.clicks / reference.rows, current.clicks / current.rows
    words = f"{percent(now)} clicked, was {percent(before)}"
    return Effect("click_rate", "log ratio", abs(ratio.signed), ratio.noise, words)


def design(profile: Profile) -> float:
    """Variance of the clicks over that of as many rows drawn one by one; 1 where there are none."""
    rate = profile.clicks / profile.rows
    simple = profile.rows * rate * (1 - rate)
    return profile.click_spread / simple if simple else 1.0


def clicks_by(column: str, reference: Profile, current: Profile) -> Effect | None:
    """Which groups' click rates have moved, beside what all of them have."""
    before, now = reference.mixes.get(column), current.mixes.get(column)
    if before is None or now is None:
        return None
    names = sorted({*before.values, *now.values})
    labels = names if column != "position" else [f"position {name}" for name in names]
    return by_group(
        f"clicks_by_{column}",
        labels,
        _rates(before, names, design(reference)),
        _rates(now, names, design(current)),
        "clicked",
    )


def calibration(reference: Profile, current: Profile) -> Effect | None:
    """Clicks over those that the day's champion expected: |ln| of the ratio to the reference's."""
    before, now = (_all_versions(profile) for profile in (reference, current))
    if before is None or now is None:
        return None
    ratio = measures.log_ratio(
        Rate(before.clicks.sum(), before.expected.sum(), design(reference)),
        Rate(now.clicks.sum(), now.expected.sum(), design(current)),
        of_rows=False,
    )
    said, was = (each.clicks.sum() / each.expected.sum() for each in (now, before))
    words = f"{said:.2f} clicks for each one expected, was {was:.2f}"
    return Effect("calibration", "log ratio", abs(ratio.signed), ratio.noise, words)


def calibration_by_prediction(reference: Profile, current: Profile) -> Effect | None:
    """Which predictions the clicks have left, beside what all of them have."""
    before, now = (_all_versions(profile) for profile in (reference, current))
    if before is None or now is None:
        return None
    labels = [predictions.label(low, low + 1) for low in range(predictions.BINS)]
    return by_group(
        "calibration_by_prediction",
        labels,
        Rates(before.clicks, before.expected, design(reference)),
        Rates(now.clicks, now.expected, design(current)),
        "of those expected",
    )


def by_group(column: str, labels: list[str], before: Rates, now: Rates, unit: str) -> Effect | None:
    """Root mean square of the groups' ln ratios, less that of all of them: 0 where all moved alike.

    Weighted by base. None with fewer than two groups that have the hits to tell.
    """
    labels, before, now = _enough(labels, before, now)
    if len(labels) < 2:
        return None
    ratios = [
        measures.log_ratio(
            Rate(a, b, before.design), Rate(c, d, now.design), of_rows=unit == "clicked"
        )
        for a, b, c, d in zip(before.hits, before.base, now.hits, now.base, strict=True)
    ]
    size, error = np.array([(ratio.signed, ratio.noise) for ratio in ratios]).T
    weights = (before.base + now.base) / (before.base + now.base).sum()
    left = size - weights @ size
    most = int(np.argmax(np.abs(left) / np.maximum(error, 1e-12)))
    rates = now.hits[most] / now.base[most], before.hits[most] / before.base[most]
    return Effect(
        column,
        "log ratio by group",
        math.sqrt(weights @ left**2),
        math.sqrt(weights @ ((1 - weights) * error**2)),
        f"{labels[most]}: {percent(rates[0])} {unit}, was {percent(rates[1])}",
        measures.effective_degrees(weights * (1 - weights) * error**2),
    )


def _enough(labels: list[str], before: Rates, now: Rates) -> tuple[list[str], Rates, Rates]:
    """Groups of MIN_HITS and more expected on both sides; the others together, if they have as many."""
    rate = (before.hits + now.hits) / np.maximum(before.base + now.base, 1e-12)
    there = rate * np.minimum(before.base, now.base) >= MIN_HITS
    names = [label for label, kept in zip(labels, there, strict=True) if kept]

    def grouped(side: Rates) -> Rates:
        return Rates(
            np.append(side.hits[there], side.hits[~there].sum()),
            np.append(side.base[there], side.base[~there].sum()),
            side.design,
        )

    first, second = grouped(before), grouped(now)
    if min(first.hits[-1], second.hits[-1]) < MIN_HITS or not min(first.base[-1], second.base[-1]):
        return names, _without_last(first), _without_last(second)
    return [*names, "the others"], first, second


def _without_last(side: Rates) -> Rates:
    return Rates(side.hits[:-1], side.base[:-1], side.design)


def _rates(mix: Mix, names: list[str], design: float) -> Rates:
    return Rates(mix.clicks_of(names), mix.rows_of(names), design)


def _all_versions(profile: Profile) -> Predictions | None:
    known = [each for each in profile.predictions.values() if each.expected.sum() > 0]
    return predictions.combine(known) if known else None
