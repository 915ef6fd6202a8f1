import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from tasks.evaluation.sequential import look_level

STEPS = st.lists(st.floats(0.01, 100), min_size=1, max_size=8)


def test_a_single_look_is_held_at_the_whole_level():
    assert look_level(np.array([7.0]), 0.025, looks=1) == pytest.approx(0.025)


def test_the_first_of_eight_looks_spends_an_eighth():
    assert look_level(np.array([3.0]), 1 / 365, looks=8) == pytest.approx(1 / 2920)


def test_the_second_look_agrees_with_the_bivariate_normal():
    level, information = 0.05, np.array([0.3, 1.3])
    first = -ndtri(level / 2)
    second = -ndtri(look_level(information, level, looks=2))
    same = np.sqrt(0.3 / 1.3)
    joint = multivariate_normal(cov=[[1, same], [same, 1]])
    # P(Z1 < b1, Z2 ≥ b2) = P(Z1 < b1) − P(Z1 < b1, Z2 < b2)
    crosses = (1 - level / 2) - joint.cdf([first, second])
    assert crosses == pytest.approx(level / 2, rel=1e-3)


def test_paths_without_a_gain_cross_as_often_as_the_level_says():
    information = np.array([0.3, 1.3, 2.2, 3.0, 4.1, 5.3, 6.3, 7.4])
    bounds = [-ndtri(look_level(information[: k + 1], 0.1, looks=8)) for k in range(8)]
    rng = np.random.default_rng(1)
    steps = rng.normal(size=(100_000, 8)) * np.sqrt(np.diff(information, prepend=0))
    crossed = np.cumsum(steps, axis=1) / np.sqrt(information) >= bounds
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), 8)
    spent = np.bincount(first, minlength=9)[:8] / len(first)
    # four standard deviations of a share of 0.0125 in 100,000 are 0.0014
    assert spent == pytest.approx(np.full(8, 0.1 / 8), abs=0.0014)


def test_after_the_last_look_nothing_is_left():
    assert look_level(np.arange(1.0, 4.0), 0.05, looks=2) == 0


@settings(max_examples=40, deadline=None)
@given(STEPS, st.floats(1e-4, 0.2), st.integers(0, 5))
def test_a_look_is_held_between_its_own_part_and_the_whole_level(steps, level, more):
    looks = len(steps) + more
    held = look_level(np.cumsum(steps), level, looks)
    assert level / looks * (1 - 1e-6) <= held <= level * (1 + 1e-6)


@settings(max_examples=20, deadline=None)
@given(STEPS, st.floats(1e-6, 1e6))
def test_only_the_ratios_of_information_count(steps, unit):
    information = np.cumsum(steps)
    assert look_level(unit * information, 0.01, 8) == pytest.approx(
        look_level(information, 0.01, 8)
    )


def test_a_day_that_adds_nothing_is_no_second_chance():
    held = look_level(np.array([1.0, 1.0]), 0.02, looks=2)
    assert held < 0.02
