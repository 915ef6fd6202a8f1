"""The step-up procedure: Benjamini-Hochberg, and cheaper where columns cannot raise a false alarm."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.drift.discoveries import discovered

CHANCES = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=12)


def benjamini_hochberg(chances, level):
    """The textbook: all up to the largest rank k whose chance is at most level × k / M."""
    ordered, number = np.sort(chances), len(chances)
    passed = [k for k in range(1, number + 1) if ordered[k - 1] <= level * k / number]
    return chances <= ordered[max(passed) - 1] if passed else np.zeros(number, bool)


@given(CHANCES, st.floats(0.001, 0.5))
def test_with_every_reach_one_it_is_benjamini_hochberg(chances, level):
    chances = np.array(chances)
    found = discovered(chances, np.ones(len(chances)), level)
    close = np.isclose(np.sort(chances), level * np.arange(1, len(chances) + 1) / len(chances))
    assert close.any() or (found == benjamini_hochberg(chances, level)).all()


def test_columns_that_cannot_raise_an_alarm_spend_nothing():
    chances = np.array([0.008, *[1.0] * 19])
    assert not discovered(chances, np.ones(20), 0.01).any()
    quiet = np.array([1.0, *[1e-9] * 19])
    assert discovered(chances, quiet, 0.01).tolist() == [True] + [False] * 19


def test_no_shift_that_matters_is_no_discovery():
    assert not discovered(np.ones(3), np.zeros(3), 0.5).any()


def test_an_alarm_on_a_quiet_day_is_as_rare_as_the_level():
    draw = np.random.default_rng(11)
    reach = np.array([1.0] * 3 + [0.01] * 5 + [1e-6] * 10)
    alarms = 0
    for _ in range(4000):
        drawn = draw.random(len(reach))
        alarms += discovered(np.where(drawn <= reach, drawn, 1.0), reach, 0.05).any()
    assert 0.035 < alarms / 4000 < 0.06


@given(CHANCES, st.data())
def test_less_reach_never_discovers_less(chances, data):
    chances = np.array(chances)
    reach = data.draw(st.lists(st.floats(0, 1), min_size=len(chances), max_size=len(chances)))
    few = discovered(chances, np.ones(len(chances)), 0.1)
    assert (discovered(chances, np.array(reach), 0.1) | ~few).all()
