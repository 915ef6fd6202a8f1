"""What is usual: calibrated under no change, by weekday, at any size, and not taught by outliers."""

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.drift.null import MIN_DAYS, PastEffect, usual_effect

MONDAY = date(2026, 3, 2)


def days(values, noises=0.01):
    """One effect a day from a Monday on."""
    noises = np.broadcast_to(noises, len(values))
    return [
        PastEffect(MONDAY + timedelta(days=n), float(value), float(noise))
        for n, (value, noise) in enumerate(zip(values, noises, strict=True))
    ]


def next_day(past):
    return past[-1].day + timedelta(days=1)


def chance(past, value, noise=0.01):
    found = usual_effect(past, next_day(past), noise)
    assert found is not None
    return found.chance(value)


def test_fewer_than_two_of_each_weekday_do_not_say_what_is_usual():
    past = days(np.linspace(0.01, 0.02, MIN_DAYS))
    assert usual_effect(past[1:], next_day(past), 0.01) is None
    assert usual_effect(past, next_day(past), 0.01) is not None


@pytest.mark.parametrize("degrees", [1, 4, 30])
@pytest.mark.parametrize(("known", "most"), [(14, 0.03), (60, 0.018)])
def test_a_usual_day_is_as_unlikely_as_is_said(degrees, known, most):
    draw = np.random.default_rng([degrees, known])
    effects = 0.01 * np.sqrt(draw.chisquare(degrees, (1500, known + 1)) / degrees)
    chances = np.array([chance(days(row[:-1]), row[-1]) for row in effects])
    # standard errors of the shares are 0.008 and 0.003; two weeks of |z| alone are no more exact
    assert np.mean(chances < 0.1) == pytest.approx(0.1, abs=0.045)
    assert 0.002 < np.mean(chances < 0.01) < most


def test_an_effect_worked_by_hand():
    # fourteen effects whose powers of two thirds are 1 and 3 in turn: mean 2, variance 14 / 13
    past = days([1.0, 3.0**1.5] * 7, noises=0.5)
    usual = usual_effect(past, next_day(past), 0.5)
    assert usual.size == pytest.approx(2.0**1.5)
    assert (usual.days, usual.degrees) == (14, 13 / 2)
    assert usual.spread == pytest.approx(math.sqrt(14 / 13 * (1 + 1 / 14)))
    assert usual.chance(2.0**1.5) == pytest.approx(0.5)
    assert usual.chance(usual.high(0.01)) == pytest.approx(0.01)
    assert usual.beyond(5.0) == pytest.approx(math.sqrt(25 - 8))


def test_what_every_monday_shows_is_usual_on_a_monday_alone():
    draw = np.random.default_rng(3)
    past = days(np.tile([0.2, *[0.02] * 6], 5) * draw.uniform(0.9, 1.1, 35))
    monday = next_day(past)
    assert monday.weekday() == 0
    assert usual_effect(past, monday, 0.01).chance(0.2) > 0.2
    assert usual_effect(past, monday + timedelta(days=1), 0.01).chance(0.2) < 1e-6


def test_weekdays_that_do_not_differ_are_pooled():
    past = days(np.random.default_rng(5).uniform(0.01, 0.03, 28))
    sizes = {usual_effect(past, MONDAY + timedelta(days=n), 0.01).size for n in range(7)}
    assert max(sizes) - min(sizes) < 0.002


def test_a_small_day_is_not_held_against_what_large_days_showed():
    draw = np.random.default_rng(7)
    past = days(0.01 * np.sqrt(draw.chisquare(5, 60) / 5), noises=0.01)
    # a tenth of the rows: three times the sampling noise
    assert chance(past, 0.032, noise=0.032) > 0.1
    assert chance(past, 0.032, noise=0.01) < 0.001


def test_what_varies_beyond_sampling_does_not_shrink_with_the_rows():
    draw = np.random.default_rng(8)
    past = days(np.abs(0.05 * draw.standard_normal(60)), noises=0.005)
    larger = usual_effect(past, next_day(past), 0.0005)
    assert larger.size == pytest.approx(usual_effect(past, next_day(past), 0.005).size, rel=0.02)


def test_one_wild_day_does_not_widen_what_is_usual():
    calm = np.random.default_rng(9).uniform(0.01, 0.03, 40)
    wild = calm.copy()
    wild[20] = 0.8
    assert chance(days(wild), 0.1) < 2 * chance(days(np.delete(calm, 20)), 0.1) < 1e-4


def test_a_column_that_never_moved_is_unusual_as_soon_as_it_does():
    past = days([0.0] * 20, noises=0.0)
    assert (chance(past, 0.0, 0.0), chance(past, 0.3, 0.0)) == (1.0, 0.0)


@given(st.lists(st.floats(0, 1), min_size=MIN_DAYS, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_effect_is_never_more_likely(values, first, second):
    past = days(values)
    low, high = sorted([first, second])
    assert 0 <= chance(past, high) <= chance(past, low) <= 1
