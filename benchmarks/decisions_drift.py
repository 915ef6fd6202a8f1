"""Drift's part of `decisions.py`: false alarms of stationary portals, and shifts found on their first day.

The histories are simulated (`drift_histories`), a new champion every 14 days, and each day is judged by
the code that judges a pipeline's days, the days of learning included. Seeds differ from those on
which thresholds were chosen (those are below 10,000).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from time import perf_counter
from typing import NamedTuple

from decisions_row import Row, share_interval
from drift_histories import SLATE, Portal

DAYS = 120
HISTORIES = {1_000: 12, 100_000: 4, 1_000_000: 2}
"""Stationary histories by rows a day."""
MOST_ALARMS = 1.0
"""In 60 days."""

SHIFTED_ROWS = 20_000
SHIFTED_HISTORIES = 16
SHIFTS = {
    "category mix by 10 points": ("category_mix", 0.1),
    "click rate × 1.2": ("click_rate", 0.2),
    "a new topic with 10 % of items": ("new_topic", 0.1),
    # a third of the items born, and these have a third of the day's candidates
    "new vocabulary in a tenth of candidates, old categories": ("new_vocabulary", 1 / 3),
    "10 % of first-page slates read on the second": ("position_mix", 0.1),
}
PLANTED_ON = range(36, 61, 4)
"""Days on which each shift is planted in each history, and each found or not on that day."""
GRADUAL_FROM = (45, 60)
WITHIN_DAYS = 10
LEAST_FOUND, LEAST_FOUND_SLOWLY = 0.95, 0.9
FIRST_SEED = 10_000


class Shifted(NamedTuple):
    """What was found in one history."""

    found: dict[str, list[bool]]
    """By shift, of each planting: was it flagged on its first day?"""
    slowly: list[int | None]
    """Day on which a shift of a point a day was flagged; None if not within WITHIN_DAYS."""


def rows(share: float) -> Iterator[Row]:
    """The table's rows.

    Args:
        share: of the replications that are run; 1 is all of them.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        yield from _found(pool, share)
        for size in HISTORIES:
            yield _false_alarms(pool, size, share)


def _false_alarms(pool: ProcessPoolExecutor, size: int, share: float) -> Row:
    began = perf_counter()
    number = max(round(HISTORIES[size] * share), 1)
    alarms = list(pool.map(partial(alarms_of, size), _seeds(number)))
    low, high = poisson_interval(sum(alarms))
    per_60 = 60 / (DAYS * number)
    return Row(
        question="alarm days in 60 on which nothing happened",
        setting=f"{size:,} rows a day, weekly rhythm, {DAYS} days × {number}",
        goal=f"at most {MOST_ALARMS:g}",
        measured=sum(alarms) * per_60,
        low=low * per_60,
        high=high * per_60,
        replications=DAYS * number,
        seconds=perf_counter() - began,
        met=sum(alarms) * per_60 <= MOST_ALARMS,
    )


def _found(pool: ProcessPoolExecutor, share: float) -> Iterator[Row]:
    began = perf_counter()
    number = max(round(SHIFTED_HISTORIES * share), 1)
    histories = list(pool.map(shifts_of, _seeds(number)))
    each_took = (perf_counter() - began) / (len(SHIFTS) + 1)
    for name in SHIFTS:
        hits = [hit for history in histories for hit in history.found[name]]
        yield _share_row("flagged on its first day", name, hits, LEAST_FOUND, each_took)
    slowly = [day is not None for history in histories for day in history.slowly]
    setting = "category mix by 1 point a day"
    question = f"flagged within {WITHIN_DAYS} days"
    yield _share_row(question, setting, slowly, LEAST_FOUND_SLOWLY, each_took)


def _share_row(
    question: str, setting: str, hits: Sequence[bool], least: float, seconds: float
) -> Row:
    measured, low, high = share_interval(sum(hits), len(hits))
    return Row(
        question=question,
        setting=f"{setting}, {SHIFTED_ROWS:,} rows a day",
        goal=f"at least {least:.0%}",
        measured=measured,
        low=low,
        high=high,
        replications=len(hits),
        seconds=seconds,
        met=measured >= least,
    )


def alarms_of(size: int, seed: int) -> int:
    """Days with an alarm among the DAYS of a stationary history."""
    portal = Portal(seed, size // SLATE)
    return sum(portal.live().drifted for _ in range(DAYS))


def shifts_of(seed: int) -> Shifted:
    """One history in which nothing lasts: each shift planted on some days, and a gradual one."""
    portal = Portal(seed, SHIFTED_ROWS // SLATE)
    found: dict[str, list[bool]] = {name: [] for name in SHIFTS}
    slowly = []
    for day in range(1, max(GRADUAL_FROM) + 1):
        if day in PLANTED_ON:
            for name, (kind, strength) in SHIFTS.items():
                found[name].append(portal.shifted(kind, strength).drifted)
        if day in GRADUAL_FROM:
            slowly.append(day_found(portal.branch()))
        portal.live()
    return Shifted(found, slowly)


def day_found(portal: Portal) -> int | None:
    """The day on which a category's share that grows a point a day is flagged."""
    for day in range(1, WITHIN_DAYS + 1):
        report = portal.live(category_mix=0.01 * day)
        if any(column.drifted and column.column == "category" for column in report.columns):
            return day
    return None


def poisson_interval(events: int) -> tuple[float, float]:
    """95 % interval of an expected number of which `events` were seen.

    Source: Garwood (1936), Fiducial limits for the Poisson distribution.
    """
    from scipy.special import chdtri

    low = chdtri(2 * events, 0.975) / 2 if events else 0.0
    return float(low), float(chdtri(2 * events + 2, 0.025) / 2)


def _seeds(number: int) -> range:
    return range(FIRST_SEED, FIRST_SEED + number)
