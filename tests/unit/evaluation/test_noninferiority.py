import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import EvaluationError
from tasks.evaluation.contest import clustered_error
from tasks.evaluation.noninferiority import Ratios, bounds, pairs, ratios, widening

EITHER_WAY = np.array([[1.0], [-1.0]])


def test_a_ratio_and_its_error_worked_by_hand():
    # 3 / 4; the users' influence is (1 − 0.75·2)/4 = −0.125 and (2 − 0.75·2)/4 = 0.125
    found = ratios(np.array([[1.0], [2.0]]), np.array([[2.0], [2.0]]))
    assert found.value == pytest.approx([0.75])
    assert found.influence[:, 0] == pytest.approx([-0.125, 0.125])
    # 2/1 · (0.125² + 0.125²)
    assert found.covariance == pytest.approx(np.array([[0.0625]]))


def test_the_error_of_a_mean_gain_is_the_contests():
    rng = np.random.default_rng(0)
    slates = rng.integers(1, 6, 40).astype(float)
    gain = rng.normal(size=40) * slates
    found = ratios(gain[:, None], slates[:, None])
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(clustered_error(gain, slates))


@pytest.mark.parametrize(("users", "below"), [(1, 1.0), (3, 0.0)])
def test_one_user_or_nothing_to_divide_by_bounds_nothing(users, below):
    with pytest.raises(EvaluationError, match="bound no ratio"):
        ratios(np.ones((users, 1)), np.full((users, 1), below))


def test_two_equal_models_have_a_gain_of_zero_without_an_interval():
    found = bounds(ratios(np.zeros((30, 1)), np.ones((30, 1))), 0.05)
    assert (found.low, found.value, found.high) == (0, 0, 0)


def test_an_end_is_passed_by_the_truth_as_often_as_its_level_says():
    rng = np.random.default_rng(3)
    missed = np.zeros(2)
    for _ in range(1500):
        slates = rng.integers(1, 4, (25, 1)).astype(float)
        gain = rng.normal(0.01, 0.2, (25, 1)) * slates
        found = bounds(ratios(gain, slates), 0.1)
        missed += (found.low > 0.01, found.high < 0.01)
    # 0.1 with a standard deviation of 0.008
    assert missed / 1500 == pytest.approx([0.1, 0.1], abs=0.025)


def test_a_gap_that_was_there_before_is_no_widening_and_narrowing_is_negative():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.05, (400, 3))
    below = np.ones((400, 3))
    old = ratios(np.add(noise, [0.5, 0.7, 0.6]), below)
    same = widening(old, ratios(np.add(noise, [0.55, 0.75, 0.65]), below), pairs(3), 0.05)
    assert same.value == pytest.approx(0, abs=1e-12)
    assert same.low == pytest.approx(0, abs=1e-6) and same.high == pytest.approx(0, abs=1e-6)
    narrower = widening(old, ratios(np.add(noise, [0.6, 0.7, 0.6]), below), pairs(3), 0.05)
    assert narrower.value == pytest.approx(-0.1, abs=0.02)


def test_the_gap_is_found_when_other_groups_become_the_extremes():
    # gaps: 0.2 between the first two, then 0.3 between the last two
    old, new = (
        Ratios(np.array(value), np.zeros((10, 4)))
        for value in ([0.5, 0.7, 0.6, 0.6], [0.6, 0.6, 0.45, 0.75])
    )
    assert widening(old, new, pairs(4), 0.05).value == pytest.approx(0.1)


def test_a_distance_from_one_counts_both_ways():
    # expected over observed less 1: from −0.1 to +0.3 is farther by 0.2, to +0.1 as far
    for value, farther in ((0.3, 0.2), (0.1, 0.0), (-0.05, -0.05)):
        old, new = (Ratios(np.array([at]), np.zeros((10, 1))) for at in (-0.1, value))
        assert widening(old, new, EITHER_WAY, 0.05).value == pytest.approx(farther)


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(0, 10_000))
def test_the_widening_lies_between_its_ends_and_no_pair_beats_it(num, seed):
    rng = np.random.default_rng(seed)
    old, new = (
        ratios(rng.normal(size=(20, num)), rng.uniform(0.5, 2, (20, num))) for _ in range(2)
    )
    found = widening(old, new, pairs(num), 0.1)
    assert found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12
    assert found.value == pytest.approx(np.ptp(new.value) - np.ptp(old.value))


@pytest.mark.parametrize("before", [[0.6, 0.6], [0.6, 0.62, 0.64, 0.66, 0.68]])
def test_a_gap_that_widens_by_its_margin_is_rarely_called_kept(before):
    # where the champion has no gap at all, the widest one that is seen is luck
    rng = np.random.default_rng(8)
    after, shape, passed = [*before[:-1], before[-1] + 0.05], (300, len(before)), 0
    for _ in range(300):
        shared, below = rng.normal(0, 0.3, shape), np.ones(shape)
        old, new = (
            ratios(shared + rng.normal(truth, 0.2, shape), below) for truth in (before, after)
        )
        passed += widening(old, new, pairs(len(before)), 0.1).high < 0.05
    assert passed / 300 < 0.1 + 0.03
