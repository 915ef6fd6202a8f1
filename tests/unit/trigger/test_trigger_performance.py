"""The interval of a fall in AUC: by hand, by its symmetries, and by how often it holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.trigger.performance import measure_fall

aucs = st.lists(st.floats(0.5, 0.9), min_size=3, max_size=10)


def test_a_fall_worked_by_hand():
    history = [(0.70, 0.01), (0.72, 0.01), (0.74, 0.01)]
    fall = measure_fall(0.66, 0.02, history, confidence=0.95)
    # variance 0.0004, mean s² 0.0001: τ² = 0.0003.
    # √(0.0003 · 4/3 + 0.0004 + 0.0001/3) = 0.028868; t₂(0.95) = 2.919986
    assert fall.usual == pytest.approx(0.72)
    assert fall.drop == pytest.approx(0.06)
    assert fall.low == pytest.approx(0.06 - 2.919986 * 0.0288675, abs=1e-6)


def test_days_that_vary_less_than_their_users_have_no_variance_of_their_own():
    history = [(0.70, 0.03), (0.71, 0.03), (0.72, 0.03)]
    fall = measure_fall(0.66, 0.03, history, confidence=0.95)
    assert fall.low == pytest.approx(0.05 - 2.919986 * 0.03 * (4 / 3) ** 0.5, abs=1e-6)


def test_without_its_own_error_a_day_is_as_sure_as_those_before_it():
    history = [(0.70, 0.01), (0.72, 0.01), (0.74, 0.01)]
    assert measure_fall(0.6, None, history, confidence=0.9) == measure_fall(
        0.6, 0.01, history, confidence=0.9
    )


@given(aucs, st.floats(0.5, 0.9), st.floats(0, 0.05), st.floats(-0.4, 0.1))
def test_only_differences_count(values, today, error, shift):
    history = [(value, error) for value in values]
    moved = [(value + shift, error) for value in values]
    here = measure_fall(today, error, history, confidence=0.9)
    there = measure_fall(today + shift, error, moved, confidence=0.9)
    assert (here.drop, here.low) == pytest.approx((there.drop, there.low), abs=1e-9)


@given(aucs, st.floats(0.5, 0.9), st.floats(0, 0.05))
def test_more_confidence_is_a_lower_bound(values, today, error):
    history = [(value, error) for value in values]
    loose = measure_fall(today, error, history, confidence=0.8)
    strict = measure_fall(today, error, history, confidence=0.95)
    assert strict.low <= loose.low <= loose.drop


@pytest.mark.parametrize(("days_vary", "users_vary"), [(0.0, 0.01), (0.01, 0.005), (0.02, 0.0)])
def test_of_days_on_which_nothing_changed_one_in_twenty_seems_to_fall(days_vary, users_vary):
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(2000):
        values = 0.7 + rng.normal(0, days_vary, 8) + rng.normal(0, users_vary, 8)
        history = [(float(value), users_vary) for value in values[:7]]
        alarms += measure_fall(float(values[7]), users_vary, history, confidence=0.95).low > 0
    # Binomial deviation √(0.05 · 0.95 / 2000) = 0.005.
    assert alarms / 2000 <= 0.05 + 3 * 0.005
    assert alarms > 0
