"""Contests whose truth is known: readers and clicks of the simulator, scorers that err by design.

A scorer sees what truly moves a click on a candidate, and errs: log-odds + error. How much it errs is
its AUC, and how the error is made up (of each row its own, of an item or of a reader in every slate)
decides how far the gain of a day is from the true gain.

Shapes: P impressions, S candidates, R clicks of slates that rank.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Random = np.random.Generator

FIRST = date(2026, 3, 2)
SCALE = 1.9
"""Standard deviation of the champion's error in log-odds: an impression AUC of about 0.69."""
HOLDOUT_SHARE = 0.3
"""Of a challenger's first day, its latest impressions: pipelines.yaml's default."""
TOPICS = 12


@dataclass(frozen=True)
class Day:
    """What one day's readers were shown, and how likely each click is."""

    number: int
    user: Ints
    """(P,) in the order of time."""
    item: Ints
    """(P, S) number of the item, over all days."""
    log_odds: Floats
    """(P, S) of a click, less the slate's mean."""
    probability: Floats
    """(P, S) of a click."""

    def since(self, share: float) -> "Day":
        """The latest `share` of the day's impressions."""
        start = round(len(self.user) * (1 - share))
        columns = (self.user, self.item, self.log_odds, self.probability)
        return Day(self.number, *(column[start:] for column in columns))


@dataclass(frozen=True)
class Portal:
    """Days in a row; the readers come back."""

    days: list[Day]
    num_users: int
    num_items: int


def open_portal(impressions: int, num_users: int, days: int, seed: int) -> Portal:
    """A portal of the simulator with its weekly rhythm."""
    from tasks.simulator.clicks import find_level, truth_of
    from tasks.simulator.curves import impressions_by_hour, impressions_of
    from tasks.simulator.settings import SimulatorSettings
    from tasks.simulator.slates import draw_slates
    from tasks.simulator.world import first_world, next_world

    settings = SimulatorSettings(seed=seed, num_users=num_users, impressions_per_day=impressions)
    world, level = first_world(settings, FIRST), find_level(settings, FIRST)
    draw = np.random.default_rng(seed)
    told = []
    for number in range(days):
        by_hour = impressions_by_hour(impressions_of(world.day, impressions))
        slates = draw_slates(draw, world, by_hour)
        truth = truth_of(world, slates)
        log_odds = truth.log_odds - truth.log_odds.mean(axis=1, keepdims=True)
        item = world.items.number[slates.item]
        probability = truth.probability(level).astype(np.float32)
        told.append(Day(number, slates.user, item, log_odds.astype(np.float32), probability))
        world = next_world(world)
    return Portal(told, num_users, int(world.items.number.max()) + 1)


@dataclass(frozen=True)
class Errors:
    """How two scorers err. Variances are shares of the champion's."""

    common: float = 0.8
    """Of errors that both make: the challenger was trained from the same start."""
    by_item: float = 0.0
    """Of what is left, the share that an item has in every slate that shows it."""
    by_reader: float = 0.0
    """Of what is left, the share that a reader has with a topic on every day."""
    gap: float = 0.0
    """By which share the challenger's variance is less than the champion's: its true gain."""
    hurt: float = 0.0
    """Share of the readers for whom the challenger's order says nothing."""


@dataclass(frozen=True)
class Pair:
    """Champion and challenger: the errors that stay with items and readers."""

    errors: Errors
    of_item: tuple[Floats, Floats]
    of_reader: tuple[Floats, Floats]
    hurt: Bools

    def scores(self, day: Day, draw: Random) -> list[Floats]:
        """(P, S) of the champion and of the challenger."""
        errors = self.errors
        shape = day.item.shape
        own = (1 - errors.common) * (1 - errors.by_item - errors.by_reader)
        shared = _normal(draw, shape, errors.common)
        topic = day.item % TOPICS
        scores = []
        for side, gap in enumerate((0.0, errors.gap)):
            error = shared + _normal(draw, shape, own)
            if errors.by_item:
                error += self.of_item[side][day.item]
            if errors.by_reader:
                error += self.of_reader[side][day.user[:, None], topic]
            scores.append(day.log_odds + np.float32((1 - gap) ** 0.5) * error)
        if errors.hurt:
            lost = self.hurt[day.user]
            scores[1][lost] = draw.standard_normal((int(lost.sum()), shape[1]), dtype=np.float32)
        return scores


def draw_pair(portal: Portal, errors: Errors, draw: Random) -> Pair:
    """Two scorers that err as told."""
    left = 1 - errors.common
    of_item, of_reader = (
        (_normal(draw, shape, left * share), _normal(draw, shape, left * share))
        for shape, share in (
            ((portal.num_items,), errors.by_item),
            ((portal.num_users, TOPICS), errors.by_reader),
        )
    )
    return Pair(errors, of_item, of_reader, draw.random(portal.num_users) < errors.hurt)


def _normal(draw: Random, shape: tuple[int, ...], variance: float) -> Floats:
    return np.float32(SCALE * variance**0.5) * draw.standard_normal(shape, dtype=np.float32)


def evidence_of(day: Day, pair: Pair, draw: Random, *, with_items: bool) -> pa.Table:
    """The day's evidence as the gate reads it, of slates that rank: new clicks, new errors."""
    from tasks.evaluation.item_gains import ITEM_GAIN

    click = draw.random(day.probability.shape, dtype=np.float32) < day.probability
    clicks = click.sum(axis=1)
    ranks = (clicks > 0) & (clicks < click.shape[1])
    scores = [score[ranks] for score in pair.scores(day, draw)]
    click, clicks = click[ranks], clicks[ranks]
    old, new = (pairs_won(score, click) for score in scores)
    pairs = clicks * (click.shape[1] - clicks)
    user, item = day.user[ranks], day.item[ranks]
    columns = {
        "day": pa.array([FIRST + timedelta(days=day.number)]).take(
            pa.array(np.zeros(len(user), int))
        ),
        "user_id": pa.array(user),
        "champion_auc": pa.array(np.where(click, old, 0).sum(axis=1) / pairs),
        "challenger_auc": pa.array(np.where(click, new, 0).sum(axis=1) / pairs),
    }
    if with_items:
        skips = click.shape[1] - clicks
        weight = 1 / np.where(click, clicks[:, None], skips[:, None])
        gain = (new - old) / pairs[:, None]
        listed = pa.StructArray.from_arrays(
            [
                pa.array(item.ravel()),
                pa.array(gain.ravel().astype(np.float32)),
                pa.array(weight.ravel().astype(np.float32)),
            ],
            names=ITEM_GAIN.names,
        )
        ends = np.arange(len(user) + 1, dtype=np.int32) * click.shape[1]
        columns["items"] = pa.ListArray.from_arrays(pa.array(ends), listed)
    return pa.table(columns)


def pairs_won(score: Floats, click: Bools) -> NDArray[np.int64]:
    """(P, S) of each candidate, its (click, skip) pairs in the right order; no two scores are equal."""
    slate, place = np.nonzero(click)
    right = (score[slate, place][:, None] > score[slate]) & ~click[slate]
    start = np.flatnonzero(np.diff(slate, prepend=-1))
    won = np.add.reduceat(right.astype(np.int64), start, axis=0)
    won[slate, place] = right.sum(axis=1)
    return won


def find_gap(
    portal: Portal, errors: Errors, gain: float, seed: int, slates: int = 400_000
) -> Errors:
    """`errors` with the gap at which the challenger's true gain is `gain`, by false position.

    The same `slates` or more are drawn at each try: with 400,000 the gain is met to 0.0003.
    """
    repeats = max(1, round(slates / sum(len(day.user) for day in portal.days)))
    low, high = 0.0, 0.5
    below, above = (
        true_gain(portal, replace(errors, gap=gap), repeats, seed) - gain for gap in (low, high)
    )
    for _ in range(3):
        gap = low - below * (high - low) / (above - below)
        found = true_gain(portal, replace(errors, gap=gap), repeats, seed) - gain
        if found < 0:
            low, below = gap, found
        else:
            high, above = gap, found
    return replace(errors, gap=low - below * (high - low) / (above - below))


def true_gain(portal: Portal, errors: Errors, repeats: int, seed: int) -> float:
    """Mean gain over all days and `repeats` pairs of scorers."""
    draw = np.random.default_rng(seed)
    gains = []
    for _ in range(repeats):
        pair = draw_pair(portal, errors, draw)
        for day in portal.days:
            found = evidence_of(day, pair, draw, with_items=False)
            gains.append(found["challenger_auc"].to_numpy() - found["champion_auc"].to_numpy())
    return float(np.concatenate(gains).mean())
