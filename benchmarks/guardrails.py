"""Guardrails against truth: do they let a harmed slice pass, and how long do they hold up a real gain?

    python benchmarks/guardrails.py [--share 0.2] [--json]

A portal of twelve categories whose readers each have their taste; slates of ten. Two scorers see what
moves a click and err: part of the error is the same for both, as it is for a model and its fine-tuned
successor, and decides how much a slate's gain scatters. Slices are the categories, cold, warm, head and
tail items, new and returning readers: 18, of which all with 5 % of the impressions decide. `collect` and
`check` are those of a day, and a challenger is looked at on each of its days. The gain is left out, so this
is what the guardrails alone would do; two rows have gate and guardrails together, as a day has them
(`combine`). Seeds differ from those on which the defaults were chosen.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache, partial
from multiprocessing import get_context
from time import perf_counter

import numpy as np
import pyarrow as pa
from decisions_row import Row, share_interval

from tasks.evaluation.bar import Bar, challenger_level
from tasks.evaluation.contest import contest_of
from tasks.evaluation.evidence import collect
from tasks.evaluation.gate import decide
from tasks.evaluation.guardrails import ModelFacts, check, combine
from tasks.evaluation.impressions import members_of, read
from tasks.evaluation.limits import Guardrails, SliceLimits
from tasks.evaluation.ruling import RuleVerdict

SEED = 20_261
FIRST = date(2026, 3, 2)
SIZE = 10
SHARES = np.array([0.18, 0.13, 0.11, 0.10, 0.09, 0.08, 0.07, 0.06, 0.06, 0.05, 0.04, 0.03])
HARMED = 7
"""A category with 6 % of the candidates, and so with the clicks of 11 % of the impressions."""
ITEMS = 40
"""Of each category; they live through all days of a challenger."""
LOOKS = 8
CALIBRATION = 240_000
"""Impressions on which a pair is made to gain or lose what it should."""
FACTS = ModelFacts(champion_ms=1, challenger_ms=1, challenger_bytes=1)
SLICES_ALONE = Guardrails(calibration=None, latency=None, size=None)
GATE = Bar(min_gain=0.002, level=challenger_level(1), min_impressions=100, looks=LOOKS)
"""pipelines.yaml's."""
PROCESSES = 2


@dataclass(frozen=True, eq=False)
class Portal:
    """Who reads how much, and what they like."""

    impressions: int
    activity: np.ndarray
    """(U,) share of the impressions."""
    taste: np.ndarray
    """(U, 12) log-odds of a click."""
    is_new: np.ndarray
    """(U,)"""


@dataclass(frozen=True)
class Pair:
    """How champion and challenger err."""

    shared: float
    """Part of the error's variance that both have: 0.8 lets a slate's gain scatter by 0.16, 0 by 0.30."""
    lift: float
    """How much more of the truth the challenger sees."""
    harm: float = 0.0
    """By which it puts the harmed category too low."""
    by_item: float = 0.0
    """Part of each scorer's own error that stays with the item, in every slate that shows it."""


def main() -> int:
    """Measure, and print one table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the replications")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = []
    for row in rows(options.share):
        print(f"{row.question}: {row.measured:.3f}, {row.seconds:.0f} s", file=sys.stderr)
        found.append(row)
    if options.json:
        print(json.dumps([row.__dict__ for row in found], indent=2))
        return 0
    print("| question | setting | measured (95 % interval) | goal | replications | seconds |")
    print("|---|---|---:|---|---:|---:|")
    for row in found:
        figure = f"{row.measured:.3f} ({row.low:.3f} to {row.high:.3f})"
        cells = (
            row.question,
            row.setting,
            figure,
            row.goal,
            row.replications,
            f"{row.seconds:.0f}",
        )
        print("| " + " | ".join(str(cell) for cell in cells) + " |")
    return 0 if all(row.met for row in found) else 1


def rows(share: float) -> Iterator[Row]:
    """Every question; `share` of the replications."""
    few, thousand, many = (_open(impressions) for impressions in (300, 1_000, 10_000))
    for portal, days, replications in ((few, 7, 200), (thousand, 7, 150), (many, 3, 24)):
        for shared in (0.8, 0.0):
            yield _harm(portal, shared, -0.05, days, LOOKS, share * replications)
    yield _harm(many, 0.0, -0.05, 3, LOOKS, share * 60, by_item=0.3)
    yield _harm(few, 0.8, -0.05, 1, 1, share * 400)
    yield _harm(thousand, 0.8, -SliceLimits().margin, 7, LOOKS, share * 200)
    for shared in (0.8, 0.5, 0.0):
        yield _held_up(thousand, shared, 0.02, 7, share * 150)
    yield _held_up(few, 0.8, 0.02, 7, share * 150)
    yield _live(thousand, 0.8, 7, share * 150)
    yield _kept_out(thousand, 0.8, -0.05, 7, share * 150)
    yield _rejected(thousand, 0.8, 7, share * 150)
    yield _cost()


def _open(impressions: int) -> Portal:
    draw = np.random.default_rng([SEED, impressions])
    users = impressions // 2
    activity = np.exp(draw.standard_normal(users))
    taste = draw.standard_normal((users, len(SHARES)))
    return Portal(impressions, activity / activity.sum(), taste, draw.random(users) < 0.1)


def evidence_of(
    portal: Portal, pair: Pair, day: int, draw: np.random.Generator, luck: np.ndarray | None = None
) -> pa.Table:
    """One day's EVIDENCE: new readers, slates, errors and clicks; `luck` (2, items) stays with items."""
    num = portal.impressions
    user = draw.choice(len(portal.activity), num, p=portal.activity)
    category = draw.choice(len(SHARES), (num, SIZE), p=SHARES)
    worth = portal.taste[user[:, None], category] + draw.standard_normal((num, SIZE))
    clicked = draw.random((num, SIZE)) < 1 / (1 + np.exp(2.6 - 1.3 * worth))
    item = category + len(SHARES) * draw.integers(0, ITEMS, (num, SIZE))
    both, one, other = draw.standard_normal((3, num, SIZE))
    if luck is not None:
        mixed = np.sqrt(pair.by_item) * luck[:, item]
        one, other = mixed + np.sqrt(1 - pair.by_item) * np.stack([one, other])
    own = np.sqrt(1 - pair.shared)
    old = worth + 2 * (np.sqrt(pair.shared) * both + own * one)
    new = (1 + pair.lift) * worth + 2 * (np.sqrt(pair.shared) * both + own * other)
    new -= pair.harm * (category == HARMED)
    cold, head = draw.random((num, SIZE)) < 0.12, draw.random((num, SIZE)) < 0.6
    is_new = np.repeat(portal.is_new[user], SIZE)
    members = {
        **{f"category {n}": (category == n).ravel() for n in range(len(SHARES))},
        **{"cold items": cold.ravel(), "warm items": ~cold.ravel()},
        **{"head items": head.ravel(), "tail items": ~head.ravel()},
        **{"new users": is_new, "returning users": ~is_new},
    }
    table = pa.table(
        {
            "label": clicked.ravel(),
            "impression_id": pa.array(np.repeat(np.arange(num), SIZE)),
            "user_id": pa.array(np.repeat(user, SIZE)).cast(pa.string()),
            "item_id": pa.array(item.ravel()).cast(pa.string()),
        }
    )
    scores = [1 / (1 + np.exp(3 - score.ravel())) for score in (old, new)]
    return collect(*scores, table, members, {}, FIRST + timedelta(days=day))


def gain_in(evidence: pa.Table, name: str | None) -> float:
    """Mean gain of a slice, or of all."""
    seen = read(evidence)
    chosen = seen.judged if name is None else seen.judged & members_of(evidence)[name]
    return float(seen.gain[chosen].mean())


@cache
def find_lift(portal: Portal, shared: float, gain: float) -> Pair:
    """The pair whose gain is `gain` everywhere."""
    return _solve(portal, lambda x: Pair(shared, x), None, gain, 0.2)


def find_harm(portal: Portal, shared: float, loss: float) -> Pair:
    """The pair whose gain is about 0.02, but `loss` in the harmed category."""
    lift = find_lift(portal, shared, 0.02).lift
    return _solve(portal, lambda x: Pair(shared, lift, x), f"category {HARMED}", loss, 1.5)


def _solve(
    portal: Portal, pair_of: Callable[[float], Pair], name: str | None, target: float, high: float
) -> Pair:
    """The secant over one parameter, on the same draws of many days."""
    large = replace(portal, impressions=CALIBRATION)

    def gain(at: float) -> float:
        return gain_in(evidence_of(large, pair_of(at), 0, np.random.default_rng(SEED)), name)

    at = [0.0, high]
    found = [gain(end) for end in at]
    for _ in range(3):
        if found[-1] == found[-2]:  # no order of candidates has changed
            break
        slope = (found[-1] - found[-2]) / (at[-1] - at[-2])
        at.append(at[-1] + (target - found[-1]) / slope)
        found.append(gain(at[-1]))
    return pair_of(at[-1])


def verdicts(
    portal: Portal, pair: Pair, days: int, looks: int, seed: int
) -> Iterator[list[RuleVerdict]]:
    """What the guardrails say on each day of one challenger."""
    draw = np.random.default_rng([SEED, seed])
    luck = draw.standard_normal((2, ITEMS * len(SHARES))) if pair.by_item else None
    seen: list[pa.Table] = []
    for day in range(days):
        seen.append(evidence_of(portal, pair, day, draw, luck))
        found = check(pa.concat_tables(seen), None, FACTS, SLICES_ALONE, looks=looks)
        yield [each for each in found if each.decides]


def passes(found: list[RuleVerdict]) -> bool:
    """Whether nothing stands in the way."""
    return all(each.decision == "pass" for each in found)


def never_passed(portal: Portal, pair: Pair, days: int, looks: int, seed: int) -> bool:
    """Whether the harmed slice is passed on none of a challenger's days."""
    return not any(
        each.rule == f"slice category {HARMED}" and each.decision == "pass"
        for found in verdicts(portal, pair, days, looks, seed)
        for each in found
    )


def passed_all(portal: Portal, pair: Pair, days: int, looks: int, seed: int) -> bool:
    """Whether nothing stands in a challenger's way on one of its days."""
    return any(passes(found) for found in verdicts(portal, pair, days, looks, seed))


def broke_none(portal: Portal, pair: Pair, days: int, looks: int, seed: int) -> bool:
    """Whether no slice is broken on any of a challenger's days."""
    return all(
        each.decision != "breach"
        for found in verdicts(portal, pair, days, looks, seed)
        for each in found
    )


def goes_live(portal: Portal, pair: Pair, days: int, looks: int, seed: int) -> bool:
    """Whether gate and guardrails together promote a challenger on one of its days."""
    draw = np.random.default_rng([SEED, seed])
    seen: list[pa.Table] = []
    for day in range(days):
        seen.append(evidence_of(portal, pair, day, draw))
        evidence = pa.concat_tables(seen)
        primary = decide(contest_of(evidence, GATE), GATE)
        verdict = combine(primary, check(evidence, None, FACTS, SLICES_ALONE, looks=looks))
        if verdict.decision != "not enough evidence":
            return verdict.decision == "promote"
    return False


def _harm(
    portal: Portal,
    shared: float,
    loss: float,
    days: int,
    looks: int,
    replications: float,
    by_item: float = 0.0,
) -> Row:
    began = perf_counter()
    pair = replace(find_harm(portal, shared, loss), by_item=by_item)
    counted = _count(partial(never_passed, portal, pair, days, looks), replications)
    question = f"a slice of 11 % of the impressions that loses {-loss:g} is never passed"
    looked = f"{days} of {looks} looks" + (f"; {by_item:g} of it the item's" if by_item else "")
    return _row(question, portal, shared, looked, counted, began)


def _held_up(portal: Portal, shared: float, gain: float, days: int, replications: float) -> Row:
    began = perf_counter()
    pair = find_lift(portal, shared, gain)
    counted = _count(partial(passed_all, portal, pair, days, LOOKS), replications)
    question = f"a gain of {gain:g} everywhere passes all slices within {days} days"
    goal = "90 % or more" if portal.impressions >= 1_000 and shared else ""
    return _row(question, portal, shared, f"{LOOKS} looks", counted, began, goal)


def _live(portal: Portal, shared: float, days: int, replications: float) -> Row:
    began = perf_counter()
    pair = find_lift(portal, shared, 0.02)
    counted = _count(partial(goes_live, portal, pair, days, LOOKS), replications)
    question = f"gate and guardrails together promote a gain of 0.02 everywhere within {days} days"
    return _row(question, portal, shared, f"{LOOKS} looks", counted, began)


def _kept_out(portal: Portal, shared: float, loss: float, days: int, replications: float) -> Row:
    began = perf_counter()
    pair = find_harm(portal, shared, loss)
    live, number = _count(partial(goes_live, portal, pair, days, LOOKS), replications)
    question = (
        f"gate and guardrails together do not promote a gain of 0.02 that costs a slice {-loss:g}"
    )
    return _row(question, portal, shared, f"{LOOKS} looks", (number - live, number), began)


def _rejected(portal: Portal, shared: float, days: int, replications: float) -> Row:
    began = perf_counter()
    spared = partial(broke_none, portal, Pair(shared, 0.0), days, LOOKS)
    counted = _count(spared, replications)
    question = "an equal model breaks no slice"
    return _row(question, portal, shared, f"{days} of {LOOKS} looks", counted, began)


def _count(outcome: Callable[[int], bool], replications: float) -> tuple[int, int]:
    """In how many of the replications the outcome was so, and how many there were."""
    number = max(2, round(replications))
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("fork")) as pool:
        return sum(pool.map(outcome, range(number))), number


def _row(
    question: str,
    portal: Portal,
    shared: float,
    looks: str,
    counted: tuple[int, int],
    began: float,
    goal: str = "90 % or more",
) -> Row:
    hits, replications = counted
    measured, low, high = share_interval(hits, replications)
    return Row(
        question=question,
        setting=f"{portal.impressions:,} impressions a day; shared error {shared:g}; {looks}",
        goal=goal,
        measured=measured,
        low=low,
        high=high,
        replications=replications,
        seconds=perf_counter() - began,
        met=not goal or measured >= 0.9,
    )


def _cost() -> Row:
    """Seconds of one check on 100,000 impressions in 18 slices."""
    portal = _open(100_000)
    evidence = evidence_of(portal, Pair(0.8, 0.1), 0, np.random.default_rng(SEED))
    taken = []
    for _ in range(5):
        began = perf_counter()
        check(evidence, None, FACTS, Guardrails(), looks=LOOKS)
        taken.append(perf_counter() - began)
    return Row(
        question="seconds of one check",
        setting="100,000 impressions in 18 slices, calibration; median, least and most",
        goal="below 1",
        measured=float(np.median(taken)),
        low=min(taken),
        high=max(taken),
        replications=len(taken),
        seconds=sum(taken),
        met=float(np.median(taken)) < 1,
    )


if __name__ == "__main__":
    raise SystemExit(main())
