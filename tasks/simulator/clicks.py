"""The truth: how probable every click is, and which clicks happen.

P(click) = P(examined | position) · σ(level + interest + appeal + reader + hour), as in the
position-based model of Craswell et al. (WSDM 2008).

Shapes: P impressions, S candidates of a slate, N = P · S rows.
"""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.interactions.schema import UTC_TIME
from tasks.simulator.curves import click_rhythm, examination, impressions_by_hour, impressions_of
from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.slates import HOUR_US, Slates, draw_slates
from tasks.simulator.world import CLICKS, LAYOUT, LEVEL, TRAFFIC, World, first_world, stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SURFACES = pa.array(["home", "article", "search"])
SURFACE_SHARES = (0.6, 0.3, 0.1)

DWELL_SECONDS = 40.0
"""Median reading time after a click; a click on what suits the reader is read for longer."""

ORDER_NOISE = 1.0
"""Log-odds by which the portal's own ranker errs where slates are laid out best first."""

LEVEL_ROWS = 40_000
"""Candidate rows on which the level is found."""


@dataclass(frozen=True)
class Truth:
    """What decides the clicks on P slates of S candidates, apart from the level and the shifts."""

    examined: Floats
    """(P, S) probability that the position is looked at."""
    log_odds: Floats
    """(P, S) of a click on what is looked at, without the level."""

    def probability(self, level: float) -> Floats:
        """(P, S) probability of a click."""
        return self.examined / (1 + np.exp(-(self.log_odds + level)))


def find_level(settings: SimulatorSettings, first_day: date) -> float:
    """The log-odds at which the first day's mean click probability is `settings.click_rate`.

    Shifts are left out, so that a shift of the first day is one against the stated rate.
    """
    world = first_world(replace(settings, shifts=()), first_day)
    draw = stream(settings, 0, LEVEL)
    impressions = max(LEVEL_ROWS // settings.slate_size, 100)
    drawn = draw_slates(draw, world, impressions_by_hour(impressions))
    truth = truth_of(world, laid_out(world, drawn, stream(settings, 0, LAYOUT)))
    low, high = -20.0, 20.0
    for _ in range(50):
        level = (low + high) / 2
        if truth.probability(level).mean() < settings.click_rate:
            low = level
        else:
            high = level
    return level


def day_rows(world: World, level: float) -> pa.Table:
    """Every candidate row of `world`'s day, by time and position, with its true click probability.

    Columns: event_id, event_time, impression_id, user_id, item_id, position, label, surface,
    dwell_seconds (of clicks), click_probability.
    """
    settings = world.settings
    by_hour = impressions_by_hour(impressions_of(world.day, settings.impressions_per_day))
    drawn = draw_slates(stream(settings, world.number, TRAFFIC), world, by_hour)
    slates = laid_out(world, drawn, stream(settings, world.number, LAYOUT))
    truth = truth_of(world, slates)
    factor = np.prod([1 + strength for strength in world.shift("click_rate")])
    probability = np.minimum(truth.probability(level) * factor, 1.0)

    draw = stream(settings, world.number, CLICKS)
    clicked = (draw.random(probability.shape) < probability).ravel()
    surface = np.searchsorted(
        np.cumsum(SURFACE_SHARES)[:-1], draw.random(len(slates.time)), side="right"
    )
    size = settings.slate_size
    impression = np.repeat(np.arange(len(slates.time)), size)
    impression_id = _impression_ids(world, len(slates.time)).take(pa.array(impression))
    place = np.tile(np.arange(1, size + 1), len(slates.time))
    return pa.table(
        {
            "event_id": pc.binary_join_element_wise(
                impression_id, _texts(np.arange(1, size + 1)).take(pa.array(place - 1)), "-"
            ),
            "event_time": pa.array(slates.time).cast(UTC_TIME).take(pa.array(impression)),
            "impression_id": impression_id,
            "user_id": user_ids(settings.num_users).take(pa.array(np.repeat(slates.user, size))),
            "item_id": item_ids(world.items.number).take(pa.array(slates.item.ravel())),
            "position": pa.array((_positions(slates).ravel()).astype(np.int32)),
            "label": pa.array(clicked.astype(np.int8)),
            "surface": SURFACES.take(pa.array(np.repeat(surface, size))),
            "dwell_seconds": _dwell(draw, truth.log_odds.ravel(), clicked),
            "click_probability": pa.array(probability.ravel()),
        }
    )


def laid_out(world: World, slates: Slates, draw: np.random.Generator) -> Slates:
    """The same slates with their candidates in the order of `settings.slate_order`."""
    order = world.settings.slate_order
    if order == "random":
        return slates
    if order == "newest":
        key = -world.items.published[slates.item].astype(np.float64)
    else:
        noise = ORDER_NOISE * draw.standard_normal(slates.item.shape)
        key = -(truth_of(world, slates).log_odds + noise)
    place = np.argsort(key, axis=1, kind="stable")
    return replace(slates, item=np.take_along_axis(slates.item, place, axis=1))


def truth_of(world: World, slates: Slates) -> Truth:
    """What decides the clicks on `slates`."""
    settings, items = world.settings, world.items
    hour = (slates.time - world.midnight) // HOUR_US
    of_reader = world.clickiness[slates.user] + click_rhythm(world.day)[hour]
    interest = world.interests[slates.user[:, None], items.topic[slates.item]]
    return Truth(
        examined=examination(_positions(slates), settings.position_bias),
        log_odds=settings.interest_weight * interest
        + settings.appeal_weight * items.appeal[slates.item]
        + of_reader[:, None],
    )


def user_ids(num_users: int) -> pa.Array:
    """Readers' ids by number."""
    return pc.binary_join_element_wise("u", _texts(np.arange(num_users)), "")


def item_ids(number: Ints) -> pa.Array:
    """Items' ids by number."""
    return pc.binary_join_element_wise("n", _texts(number), "")


def _impression_ids(world: World, total: int) -> pa.Array:
    return pc.binary_join_element_wise(f"{world.day:%Y%m%d}", _texts(np.arange(total)), "-")


def _texts(number: Ints) -> pa.Array:
    return pa.array(number).cast(pa.string())


def _positions(slates: Slates) -> Ints:
    size = slates.item.shape[1]
    return np.arange(1, size + 1) + size * slates.second_page[:, None]


def _dwell(draw: np.random.Generator, log_odds: Floats, clicked: NDArray[np.bool_]) -> pa.Array:
    """(N,) seconds, log-normal and longer for what suits the reader; null without a click."""
    seconds = np.zeros(len(clicked))
    suits = log_odds[clicked]
    seconds[clicked] = DWELL_SECONDS * np.exp(0.2 * suits + 0.7 * draw.standard_normal(len(suits)))
    return pa.array(np.round(seconds, 1), mask=~clicked)
