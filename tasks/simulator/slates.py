"""Which items are shown to whom: a day's slates, hour by hour.

Shapes: P impressions, S candidates of a slate, U users, T topics, I items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.simulator.settings import SECOND_PAGE
from tasks.simulator.world import World, live_items, popularity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR_US = 3_600_000_000

REDRAWS = 30
"""How often a candidate that its slate has already is drawn again by taste before any item does."""


@dataclass(frozen=True)
class Slates:
    """P impressions in the order of their times."""

    time: Ints
    """(P,) µs since 1970, whole milliseconds."""
    user: Ints
    """(P,) number of the reader."""
    item: Ints
    """(P, S) index into `World.items`, the top first; no item twice in a slate."""
    second_page: NDArray[np.bool_]
    """(P,) whether positions go on where the first page ends."""


def draw_slates(draw: np.random.Generator, world: World, by_hour: Ints) -> Slates:
    """Slates of `world`'s day with `by_hour` (24,) impressions in each hour.

    A candidate comes from a topic, then by popularity from its items that were live as the hour
    began. Its topic comes from the reader's interests with `personal_share`, else from the day's
    mix. So categories keep their shares whatever was born, and only a shift moves them.
    """
    total = int(by_hour.sum())
    hour = np.repeat(np.arange(24), by_hour)
    within = draw.random(total) * HOUR_US
    time = world.midnight + hour * HOUR_US + within.astype(np.int64) // 1000 * 1000
    user = np.searchsorted(np.cumsum(world.activity)[:-1], draw.random(total), side="right")
    first_page = 1 - SECOND_PAGE
    for strength in world.shift("position_mix"):
        first_page *= 1 - strength
    second_page = draw.random(total) >= first_page
    ends = np.cumsum(by_hour)
    item = np.concatenate(
        [
            _draw_hour(draw, world, user[end - count : end], world.midnight + number * HOUR_US)
            for number, (end, count) in enumerate(zip(ends, by_hour, strict=True))
        ]
    )
    return Slates(np.sort(time), user, item, second_page)


def _draw_hour(draw: np.random.Generator, world: World, user: Ints, moment: int) -> Ints:
    """(P, S) distinct items for each of the hour's readers."""
    shelf = _Shelf(world, moment)
    size = world.settings.slate_size
    item = shelf.draw(draw, np.repeat(user, size)).reshape(len(user), size)
    for _ in range(REDRAWS):
        again = _repeats(item)
        if not again.any():
            return item
        item[again] = shelf.draw(draw, user[np.nonzero(again)[0]])
    while (again := _repeats(item)).any():
        item[again] = draw.choice(shelf.live, again.sum())
    return item


def _repeats(item: Ints) -> NDArray[np.bool_]:
    """(P, S) where a slate has an item that it has already."""
    order = np.argsort(item, axis=1, kind="stable")
    sorted_items = np.take_along_axis(item, order, axis=1)
    repeats = np.zeros(item.shape, np.bool_)
    np.put_along_axis(repeats, order[:, 1:], sorted_items[:, 1:] == sorted_items[:, :-1], 1)
    return repeats


class _Shelf:
    """What can be shown in one hour."""

    def __init__(self, world: World, moment: int) -> None:
        items, settings = world.items, world.settings
        self.live = np.flatnonzero(live_items(settings, items, moment))
        self.live = self.live[np.argsort(items.topic[self.live], kind="stable")]
        weight = popularity(settings, items.take(self.live), moment)
        num_topics = world.interests.shape[1]
        self._reached = np.cumsum(weight)
        by_topic = np.bincount(items.topic[self.live], weights=weight, minlength=num_topics)
        self._topic_end = np.cumsum(by_topic)
        self._topic_weight = by_topic
        offered = np.where(by_topic > 0, world.topic_mix(), 0.0)
        self._mix = _cumulative(offered)
        self._personal = _cumulative(offered * np.exp(world.interests))
        self._personal_share = settings.personal_share
        self._boosts = list(zip(world.boosted_topics(), world.shift("category_mix"), strict=True))

    def draw(self, draw: np.random.Generator, user: Ints) -> Ints:
        """(N,) an item for each of N readers."""
        at = draw.random(len(user))
        topic = np.searchsorted(self._mix, at, side="right")
        personal = np.flatnonzero(draw.random(len(user)) < self._personal_share)
        topic[personal] = (at[personal, None] >= self._personal[user[personal]]).sum(axis=1)
        for boosted, strength in self._boosts:
            if self._topic_weight[boosted] > 0:
                topic[draw.random(len(user)) < strength] = boosted
        below = draw.random(len(user)) * self._topic_weight[topic]
        place = np.searchsorted(
            self._reached, self._topic_end[topic] - self._topic_weight[topic] + below, side="right"
        )
        return self.live[np.minimum(place, len(self.live) - 1)]


def _cumulative(weight: Floats) -> Floats:
    """Upper ends of each topic's part of [0, 1), without the last, which is always 1."""
    reached = np.cumsum(weight, axis=-1)
    return (reached / reached[..., -1:])[..., :-1]
