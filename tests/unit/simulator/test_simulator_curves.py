from datetime import date, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.simulator.curves import (
    click_rhythm,
    examination,
    hour_shares,
    impressions_by_hour,
    impressions_of,
)

MONDAY = date(2026, 3, 2)


def test_examination_by_hand():
    # 4^-0.5 = 1/2, 9^-0.5 = 1/3
    np.testing.assert_allclose(examination(np.array([1, 4, 9]), 0.5), [1, 1 / 2, 1 / 3])


@given(st.floats(0, 3), st.integers(2, 300))
def test_examination_is_a_probability_that_never_rises(bias, size):
    looked = examination(np.arange(1, size + 1), bias)
    assert looked[0] == 1 and (looked > 0).all()
    assert (np.diff(looked) <= 0).all()


def test_nobody_prefers_the_top_without_bias():
    assert (examination(np.arange(1, 20), 0.0) == 1).all()


@given(st.integers(0, 10**7))
def test_the_hours_impressions_add_up_to_the_days(total):
    by_hour = impressions_by_hour(total)
    assert by_hour.sum() == total and (by_hour >= 0).all()
    # rounding a running sum misplaces less than one impression at each end of an hour
    assert np.abs(by_hour - hour_shares() * total).max() <= 1


def test_readers_come_in_the_evening_and_sleep_at_night():
    shares = hour_shares()
    assert np.isclose(shares.sum(), 1)
    assert shares.argmax() == 20 and shares.argmin() in range(5)
    assert shares.max() > 4 * shares.min()


@given(st.integers(0, 5000), st.integers(1, 10**6))
def test_any_week_has_seven_average_days(start, mean):
    week = [impressions_of(MONDAY + timedelta(start + day), mean) for day in range(7)]
    assert min(week) >= 1
    assert abs(sum(week) - 7 * mean) <= 7


def test_a_saturday_is_quieter_than_a_tuesday():
    assert impressions_of(date(2026, 3, 7), 1000) == 800
    assert impressions_of(date(2026, 3, 3), 1000) == 1100


@given(st.integers(0, 5000))
def test_the_rhythm_of_clicks_is_mild_and_without_a_mean_on_weekdays(start):
    day = MONDAY + timedelta(start)
    rhythm = click_rhythm(day)
    assert np.abs(rhythm).max() <= 0.15 + 1e-12
    assert np.isclose(rhythm.mean(), 0.05 if day.weekday() >= 5 else 0.0)
    assert rhythm.argmax() == 21
