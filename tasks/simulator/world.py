"""The portal's state on one day: its items, and its readers' interests.

Shapes: U users, T topics of the vocabulary (open or not), I live items.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tasks.simulator.settings import LIFE_IN_HALF_LIVES, SimulatorSettings
from tasks.simulator.titles import compose
from tasks.simulator.vocabulary import TOPICS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_US = 86_400_000_000

TOPIC_SPREAD = 0.3
"""Standard deviation of the log of the topics' shares."""
ACTIVITY_SPREAD = 0.8
"""Standard deviation of the log of how often a reader comes."""
CLICKINESS_SPREAD = 0.3
"""Standard deviation of a reader's own log-odds of a click."""
POPULARITY_BY_APPEAL = 0.4
"""Log of popularity by one standard deviation of appeal: the crowd finds what is good."""
UPDATED_SHARE = 0.02
"""Share of the live items whose text is rewritten each day."""

USERS, MIX, CATALOGUE, BIRTHS, WANDER, TRAFFIC, CLICKS, DELIVERY, LEVEL, LAYOUT = range(10)
"""Streams of random numbers: what one of them is used for moves none of the others."""


def stream(settings: SimulatorSettings, day: int, use: int) -> np.random.Generator:
    """The generator of one day (0 is before the first) and one use."""
    return np.random.default_rng([settings.seed, day, use])


@dataclass(frozen=True)
class Items:
    """I items."""

    number: Ints
    """(I,) in the order of their birth, over all days."""
    topic: Ints
    appeal: Floats
    """(I,) standard normal; moves the click probability."""
    published: Ints
    """(I,) µs since 1970."""
    updated: Ints
    """(I,) µs since 1970."""
    title: NDArray[np.object_]
    text: NDArray[np.object_]

    def take(self, chosen: NDArray[np.bool_] | Ints) -> "Items":
        """Some of the items."""
        return Items(*(column[chosen] for column in vars(self).values()))

    def followed_by(self, others: "Items") -> "Items":
        """These items, then the others."""
        columns = zip(vars(self).values(), vars(others).values(), strict=True)
        return Items(*(np.concatenate(both) for both in columns))


NO_ITEMS = Items(*(np.empty(0, kind) for kind in (int, int, float, int, int, object, object)))


@dataclass(frozen=True)
class World:
    """The portal at the start of day `number` of the simulation."""

    settings: SimulatorSettings
    first_day: date
    number: int
    """1 is the first day."""
    interests: Floats
    """(U, T) standard normal; moves the click probability, and what is shown to the reader."""
    activity: Floats
    """(U,) share of the impressions that are the reader's."""
    clickiness: Floats
    """(U,) log-odds that the reader adds to every click."""
    items: Items
    """Everything that can be shown today, today's births with it."""
    changed: Items
    """What today's catalogue says: births and updates, and on the first day every item."""
    num_updates: int
    """How many of these are updates."""

    @property
    def day(self) -> date:
        """The date."""
        return self.first_day + timedelta(days=self.number - 1)

    @property
    def midnight(self) -> int:
        """µs since 1970 at which the day starts."""
        return _midnight(self.day)

    def shift(self, kind: str) -> list[float]:
        """Strengths of the shifts of a kind that have begun."""
        return [s.size for s in self.settings.shifts if s.kind == kind and s.day <= self.number]

    def topic_mix(self) -> Floats:
        """(T,) share of each topic in births, and in what is shown to a reader without interests."""
        draw = stream(self.settings, 0, MIX)
        weight = np.exp(TOPIC_SPREAD * draw.standard_normal(len(TOPICS)))
        weight[self.settings.topics :] = 0.0
        mix = weight / weight.sum()
        for opened, strength in enumerate(self.shift("new_topic"), start=self.settings.topics):
            mix *= 1 - strength
            mix[opened] = strength
        return mix

    def boosted_topics(self) -> list[int]:
        """The topic that each category_mix shift lifts: the middle-sized one first."""
        by_share = np.argsort(self.topic_mix()[: self.settings.topics])
        order = np.roll(by_share, len(by_share) // 2)
        return [int(order[i % len(order)]) for i in range(len(self.shift("category_mix")))]


def first_world(settings: SimulatorSettings, first_day: date) -> World:
    """The portal on its first day: readers, a full catalogue, and the day's births."""
    draw = stream(settings, 0, USERS)
    activity = np.exp(ACTIVITY_SPREAD * draw.standard_normal(settings.num_users))
    clickiness = CLICKINESS_SPREAD * draw.standard_normal(settings.num_users)
    interests = draw.standard_normal((settings.num_users, len(TOPICS)))
    life = round(settings.half_life_days * LIFE_IN_HALF_LIVES * DAY_US)
    num_items = round(settings.births_per_day * life / DAY_US)
    before = World(
        settings=settings,
        first_day=first_day,
        number=0,
        interests=interests,
        activity=activity / activity.sum(),
        clickiness=clickiness,
        items=NO_ITEMS,
        changed=NO_ITEMS,
        num_updates=0,
    )
    start = _midnight(first_day) - life
    items = _born(stream(settings, 0, CATALOGUE), before, num_items, (start, life))
    first = _next(before, items, interests)
    return replace(first, changed=first.items)


def next_world(world: World) -> World:
    """The day after: interests have wandered, old items left, others were born or rewritten.

    Interests are a random walk that is drawn back to the mean, z ← √(1 − w²) z + w ε, so that a
    year's walk leaves readers as different from each other as they were.
    """
    draw = stream(world.settings, world.number + 1, WANDER)
    moved = world.settings.wander_per_day
    noise = draw.standard_normal(world.interests.shape)
    return _next(world, world.items, np.sqrt(1 - moved**2) * world.interests + moved * noise)


def live_items(settings: SimulatorSettings, items: Items, moment: int) -> NDArray[np.bool_]:
    """(I,) whether an item can be shown at `moment` (µs since 1970)."""
    life = settings.half_life_days * LIFE_IN_HALF_LIVES * DAY_US
    return (items.published <= moment) & (moment - items.published < life)


def popularity(settings: SimulatorSettings, items: Items, moment: int) -> Floats:
    """(I,) weight with which an item is shown at `moment`; halves with every half-life."""
    age = (moment - items.published) / (settings.half_life_days * DAY_US)
    return np.exp2(-age) * np.exp(POPULARITY_BY_APPEAL * items.appeal)


def _next(world: World, items: Items, interests: Floats) -> World:
    """The world of the next day, with `items` as they were the evening before."""
    settings = world.settings
    ahead = replace(world, number=world.number + 1, interests=interests, items=items)
    draw = stream(settings, ahead.number, BIRTHS)
    births = _born(draw, ahead, settings.births_per_day, (ahead.midnight, DAY_US))
    kept = items.take(live_items(settings, items, ahead.midnight))
    at = draw.random(len(kept.number)) < UPDATED_SHARE
    rewritten = _rewritten(draw, kept.take(at), ahead.midnight)
    return replace(
        ahead,
        items=kept.take(~at).followed_by(rewritten).followed_by(births),
        changed=rewritten.followed_by(births),
        num_updates=len(rewritten.number),
    )


def _born(draw: np.random.Generator, world: World, num_items: int, span: tuple[int, int]) -> Items:
    """Items published at even paces over a span (its start and length in µs), jittered."""
    start, length = span
    topic = draw.choice(len(TOPICS), size=num_items, p=world.topic_mix())
    appeal = draw.standard_normal(num_items)
    pace = (np.arange(num_items) + draw.random(num_items)) / num_items
    published = start + (pace * length).astype(np.int64) // 1000 * 1000
    unaffected = np.prod([1 - strength for strength in world.shift("new_vocabulary")])
    title, text = compose(draw, topic, draw.random(num_items) >= unaffected)
    number = np.arange(num_items) + (world.items.number[-1] + 1 if len(world.items.number) else 0)
    return Items(number, topic, appeal, published, published, _objects(title), _objects(text))


def _rewritten(draw: np.random.Generator, items: Items, midnight: int) -> Items:
    """The items with other texts, at some time of the day that starts at `midnight`."""
    num_items = len(items.number)
    _, text = compose(draw, items.topic, np.zeros(num_items, np.bool_))
    updated = midnight + (draw.random(num_items) * DAY_US).astype(np.int64) // 1000 * 1000
    return replace(items, updated=updated, text=_objects(text))


def _objects(texts: list[str]) -> NDArray[np.object_]:
    return np.array(texts, dtype=np.object_)


def _midnight(day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
