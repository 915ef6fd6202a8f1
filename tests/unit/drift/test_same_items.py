"""Clicks on the same items: what else is shown does not count."""

import itertools
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from days import CATALOGUE, ITEMS_EACH, after, day_rows, profiled

from tasks.drift import same_items
from tasks.drift.effect import Effect
from tasks.drift.item_clicks import CAPACITY, count_items
from tasks.drift.profile import Profile, merge


def rows(seed: int, appeal: Any, factor: float = 1.0, **mix: Any) -> pa.Table:
    """A day whose items each have a click rate of their own, times `factor`."""
    drawn = day_rows(40_000, seed=seed, slate=1, **mix)
    items = np.array(drawn["item_id"].to_pylist())
    rate = dict(zip(CATALOGUE["item_id"].to_pylist(), appeal, strict=True))
    probability = factor * np.array([rate[item] for item in items])
    label = np.random.default_rng([seed, 1]).random(len(items)) < probability
    return drawn.set_column(5, "label", pa.array(label.astype(np.int8)))


def appeal(worse_at: int | None = None) -> Any:
    """Click rates by item; those of one category may be a third."""
    rates = np.random.default_rng(4).uniform(0.05, 0.25, 4 * ITEMS_EACH)
    if worse_at is not None:
        rates[worse_at * ITEMS_EACH :][:ITEMS_EACH] /= 3
    return rates


def measured(reference: Profile, current: Profile) -> Effect:
    found = same_items.measure(reference, current)
    assert found is not None
    return found


def test_a_fifth_more_clicks_on_every_item_is_a_fifth_more() -> None:
    before = profiled(rows(1, appeal()))
    effect = measured(before, profiled(rows(2, appeal(), 1.2), after(1)))
    assert effect.value == pytest.approx(math.log(1.2), abs=3 * effect.noise)
    assert effect.words.endswith("they are 100 % of candidates")


def test_other_items_that_are_worse_are_no_change_of_the_readers() -> None:
    # travel is clicked a third as often, and today it has four tenths of the candidates
    before = profiled(rows(1, appeal(3)))
    now = profiled(rows(2, appeal(3), mix=(0.2, 0.2, 0.2, 0.4)), after(1))
    assert now.clicks / now.rows < 0.9 * before.clicks / before.rows
    effect = measured(before, now)
    assert effect.value < 2.5 * effect.noise < 0.1


def test_items_of_one_side_alone_weigh_nothing() -> None:
    before = profiled(rows(1, appeal(), first_item=20))
    now = measured(before, profiled(rows(2, appeal()), after(1)))
    assert now.value < 3 * now.noise
    assert now.words.endswith("they are 80 % of candidates")


def test_a_rate_worked_by_hand() -> None:
    def day(rows: int, clicks: int, number: int) -> Profile:
        labels = np.arange(rows) < clicks
        table = day_rows(rows, slate=1).set_column(5, "label", pa.array(labels.astype(np.int8)))
        same = pa.array(["news-0"] * rows)
        return profiled(table.set_column(3, "item_id", same), after(number))

    effect = measured(day(1000, 100, 0), day(500, 75, 1))
    # one stratum: the ratio of the rates, with variance 1/75 - 1/500 + 1/100 - 1/1000
    assert effect.value == pytest.approx(math.log(1.5))
    assert effect.noise == pytest.approx(math.sqrt(1 / 75 - 1 / 500 + 1 / 100 - 1 / 1000), rel=0.05)


def test_noise_is_what_days_of_one_world_are_apart() -> None:
    days = [profiled(rows(seed, appeal()), after(seed)) for seed in range(10)]
    effects = [measured(first, second) for first, second in itertools.pairwise(days)]
    ratio = np.mean([(each.value / each.noise) ** 2 for each in effects])
    assert 0.3 < ratio < 2.2


def test_too_few_clicks_on_common_items_say_nothing() -> None:
    lone = day_rows(200).set_column(3, "item_id", pa.array([f"other-{n}" for n in range(200)]))
    assert same_items.measure(profiled(day_rows(200)), profiled(lone, after(1))) is None


def test_the_rarest_of_very_many_items_are_dropped_and_rates_stay() -> None:
    items = [f"i{n}" for n in range(2 * CAPACITY)]
    codes = np.concatenate([np.repeat(np.arange(CAPACITY), 9), np.arange(2 * CAPACITY)])
    mix = count_items(items, codes, np.ones(len(codes)))
    assert set(mix.values) == {*items[:CAPACITY]}
    assert mix.clicks == pytest.approx(mix.rows)


def test_merged_days_add_up() -> None:
    days = [profiled(rows(seed, appeal()), after(seed)) for seed in range(3)]
    both = merge(days[:2])
    assert both.mixes["item"].clicks.sum() == days[0].clicks + days[1].clicks
    assert measured(both, days[2]).noise < measured(days[0], days[2]).noise
