"""The promotion gate against truth: how often it promotes nothing, and how soon it sees a gain.

Each replication is one challenger: judged on the latest 30 % of its first day, then on whole days in
shadow, by `contest_of` and `decide` on all its evidence so far, until it is promoted or rejected, or 7
days in shadow are over. Worlds, readers and clicks are the simulator's; scorers err by design
(decisions_portal.py). Seeds differ from those on which the gate was designed.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter

import numpy as np
import pyarrow as pa
from decisions_portal import (
    HOLDOUT_SHARE,
    Errors,
    Portal,
    draw_pair,
    evidence_of,
    find_gap,
    open_portal,
)
from decisions_row import Row, share_interval

from tasks.evaluation.bar import Bar, challenger_level
from tasks.evaluation.contest import contest_of
from tasks.evaluation.gate import decide

SEED = 9_000
LOOKS = 8
"""The first day, and pipelines.yaml's seven in shadow."""
SHIPPED = Bar(min_gain=0.002, level=challenger_level(1), min_impressions=100, looks=LOOKS)
"""pipelines.yaml's."""
ANY_GAIN = Bar(min_gain=0.0, level=challenger_level(1), min_impressions=100, looks=LOOKS)
"""The hardest bar to keep: no gain is right on its edge."""
PROCESSES = 2


@dataclass(frozen=True)
class Traffic:
    """How many impressions a day, of how many readers; `days` are drawn once, clicks each time."""

    impressions: int
    readers: int
    days: int

    def __str__(self) -> str:
        return f"{self.impressions:,} impressions a day of {self.readers:,} readers"


THOUSAND = Traffic(1_000, 500, 32)
FEW_READERS = Traffic(1_000, 40, 32)
TEN_THOUSAND = Traffic(10_000, 5_000, 16)
HUNDRED_THOUSAND = Traffic(100_000, 50_000, 9)


@dataclass(frozen=True)
class Trial:
    """Challengers of one kind."""

    words: str
    errors: Errors
    bar: Bar
    replications: int
    with_items: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of one challenger."""

    decision: str
    look: int
    ahead: bool
    """Whether its AUC was the higher one on the first day: the point comparison's verdict."""


NO_GAIN = {
    THOUSAND: [
        Trial("each row has its own error", Errors(), ANY_GAIN, 2_000),
        Trial("30 % of the error is the item's", Errors(by_item=0.3), ANY_GAIN, 2_000),
        Trial("half of the error is the reader's", Errors(by_reader=0.5), ANY_GAIN, 1_000),
        Trial(
            "lost for 5 % of the readers, better for all others", Errors(hurt=0.05), ANY_GAIN, 1_000
        ),
    ],
    FEW_READERS: [Trial("each row has its own error", Errors(), ANY_GAIN, 1_500)],
    TEN_THOUSAND: [
        Trial("each row has its own error", Errors(), ANY_GAIN, 600),
        Trial("30 % of the error is the item's", Errors(by_item=0.3), ANY_GAIN, 600),
    ],
    HUNDRED_THOUSAND: [
        Trial("each row has its own error", Errors(), ANY_GAIN, 100),
        Trial("30 % of the error is the item's", Errors(by_item=0.3), ANY_GAIN, 100),
    ],
}
BY_USERS_ALONE = {
    TEN_THOUSAND: Trial(
        "30 % of the error is the item's", Errors(by_item=0.3), ANY_GAIN, 200, False
    ),
    HUNDRED_THOUSAND: Trial(
        "30 % of the error is the item's", Errors(by_item=0.3), ANY_GAIN, 40, False
    ),
}


@dataclass(frozen=True)
class Gain:
    """A true gain, and by when it should be seen."""

    traffic: Traffic
    gain: float
    within: int
    trial: Trial
    goal: bool = True


GAINS = [
    Gain(THOUSAND, 0.02, 7, Trial("each row has its own error", Errors(), SHIPPED, 400)),
    Gain(THOUSAND, 0.02, 7, Trial("30 % is the item's", Errors(by_item=0.3), SHIPPED, 400)),
    Gain(HUNDRED_THOUSAND, 0.005, 2, Trial("each row has its own error", Errors(), SHIPPED, 100)),
    Gain(
        HUNDRED_THOUSAND,
        0.005,
        2,
        Trial("30 % is the item's", Errors(by_item=0.3), SHIPPED, 60),
        False,
    ),
]


def rows(share: float) -> Iterator[Row]:
    """Every question to the gate; `share` of the replications."""
    for traffic, trials in NO_GAIN.items():
        portal = _open(traffic)
        for trial in trials:
            yield from _false_promotions(portal, traffic, trial, share)
        if traffic in BY_USERS_ALONE:
            yield _users_alone(portal, traffic, BY_USERS_ALONE[traffic], share)
        for asked in GAINS:
            if asked.traffic == traffic:
                yield _power(portal, asked, share)


def challenge(portal: Portal, trial: Trial, seed: int) -> Outcome:
    """One challenger's way through the gate."""
    draw = np.random.default_rng([SEED, seed])
    pair = draw_pair(portal, trial.errors, draw)
    first = int(draw.integers(0, len(portal.days) - trial.bar.looks + 1))
    evidence: list[pa.Table] = []
    for look, day in enumerate(portal.days[first : first + trial.bar.looks], start=1):
        shown = day.since(HOLDOUT_SHARE) if look == 1 else day
        evidence.append(evidence_of(shown, pair, draw, with_items=trial.with_items))
        contest = contest_of(pa.concat_tables(evidence), trial.bar)
        if look == 1:
            ahead = contest.gain > 0
        decision = decide(contest, trial.bar).decision
        if decision != "not enough evidence":
            break
    return Outcome(decision, look, ahead)


def _false_promotions(
    portal: Portal, traffic: Traffic, trial: Trial, share: float
) -> Iterator[Row]:
    began = perf_counter()
    if trial.errors.hurt:
        trial = Trial(trial.words, find_gap(portal, trial.errors, 0.0, SEED), *_rest(trial))
    outcomes = _challenges(portal, trial, share)
    seconds = perf_counter() - began
    promoted = sum(outcome.decision == "promote" for outcome in outcomes)
    setting = f"{traffic}; {trial.words}"
    yield _a_year("gate", setting, "at most 2", promoted, len(outcomes), seconds)
    ahead = sum(outcome.ahead for outcome in outcomes)
    yield _a_year("point comparison", setting, "", ahead, len(outcomes), seconds)


def _users_alone(portal: Portal, traffic: Traffic, trial: Trial, share: float) -> Row:
    began = perf_counter()
    outcomes = _challenges(portal, trial, share)
    promoted = sum(outcome.decision == "promote" for outcome in outcomes)
    setting = f"{traffic}; {trial.words}"
    seconds = perf_counter() - began
    return _a_year("gate without items", setting, "", promoted, len(outcomes), seconds)


def _a_year(
    rule: str, setting: str, goal: str, hits: int, replications: int, seconds: float
) -> Row:
    measured, low, high = (365 * part for part in share_interval(hits, replications))
    return Row(
        question=f"false promotions in a year of daily challengers without a gain, {rule}",
        setting=setting,
        goal=goal,
        measured=measured,
        low=low,
        high=high,
        replications=replications,
        seconds=seconds,
        met=not goal or measured <= 2,
    )


def _power(portal: Portal, asked: Gain, share: float) -> Row:
    began = perf_counter()
    trial = asked.trial
    trial = Trial(trial.words, find_gap(portal, trial.errors, asked.gain, SEED), *_rest(trial))
    outcomes = _challenges(portal, trial, share)
    seen = sum(o.decision == "promote" and o.look <= asked.within for o in outcomes)
    measured, low, high = share_interval(seen, len(outcomes))
    return Row(
        question=f"a true gain of {asked.gain:g} is promoted within {asked.within} days",
        setting=f"{asked.traffic}; {trial.words}; min_gain {trial.bar.min_gain:g}",
        goal="90 % or more" if asked.goal else "",
        measured=measured,
        low=low,
        high=high,
        replications=len(outcomes),
        seconds=perf_counter() - began,
        met=not asked.goal or measured >= 0.9,
    )


def _rest(trial: Trial) -> tuple[Bar, int, bool]:
    return trial.bar, trial.replications, trial.with_items


def _open(traffic: Traffic) -> Portal:
    return open_portal(traffic.impressions, traffic.readers, traffic.days, SEED)


def _challenges(portal: Portal, trial: Trial, share: float) -> list[Outcome]:
    replications = max(2, round(trial.replications * share))
    context = get_context("fork")
    with ProcessPoolExecutor(
        PROCESSES, mp_context=context, initializer=_remember, initargs=(portal, trial)
    ) as pool:
        chunk = max(1, replications // (8 * PROCESSES))
        return list(pool.map(_remembered, range(replications), chunksize=chunk))


_running: tuple[Portal, Trial]


def _remember(portal: Portal, trial: Trial) -> None:
    global _running
    _running = portal, trial


def _remembered(seed: int) -> Outcome:
    return challenge(*_running, seed)
