import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from tasks.evaluation.tails import lower_distance

LEVEL = 1 / 365


def test_many_even_users_leave_the_normal_quantile():
    residual = np.tile([1.0, -1.0], 50_000)
    assert lower_distance(residual, LEVEL) == pytest.approx(norm.isf(LEVEL), rel=1e-3)


def test_few_even_users_leave_students():
    # κ = 0, s = √10 / 10^1.5 = 0.1; (2 · 2.777² + 1)/6 = 2.74
    expected = t.isf(LEVEL, 9) + 2 * 0.1 * 2.74
    assert lower_distance(np.tile([1.0, -1.0], 5), LEVEL) == pytest.approx(expected, rel=1e-3)


def test_one_user_who_carries_all_leaves_two_degrees_of_freedom():
    # Σe² = Σe³ = Σe⁴ = Σe⁶ = 1: ν = 2 · 1² / (1 − 1/1001), and 2s − κ = 1
    residual = np.array([1.0, *np.full(1000, -1e-6)])
    assert lower_distance(residual, LEVEL) == pytest.approx(t.isf(LEVEL, 2) + 2.74, rel=0.01)


def test_rare_losses_lengthen_the_lower_end_and_rare_gains_do_not_shorten_it():
    rare = np.concatenate([np.full(2_000, 0.02), np.full(40, -1.0)])
    losses, gains = lower_distance(rare, LEVEL), lower_distance(-rare, LEVEL)
    # κ = Σe³/(Σe²)^1.5 = −40/40.8^1.5 = −0.153; s = √40/40.8^1.5 = 0.024; (2 · 2.777² + 1)/6 = 2.74
    assert losses - gains == pytest.approx((0.153 + 2 * 0.024) * 2.74, rel=0.01)
    assert gains > norm.isf(LEVEL)


def test_no_level_is_no_end():
    assert lower_distance(np.ones(10), 0.0) == np.inf


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=40), st.floats(1e-4, 0.2))
def test_never_nearer_than_the_normal_and_the_same_in_any_unit(values, level):
    residual = np.array(values) - np.mean(values)
    if (residual**2).sum() < 1e-6:
        return
    found = lower_distance(residual, level)
    assert found >= norm.isf(level)
    assert lower_distance(1000 * residual, level) == pytest.approx(found)
