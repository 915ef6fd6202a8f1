import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tasks.drift.predictions import BINS, Predictions, combine, label, summarise

PROBABILITIES = hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1))


def test_bins_worked_by_hand() -> None:
    # log-odds 0, ln(1/3) = -1.0986 and ln(1/9) = -2.197: bins 40, 35 (-1.25 to -1) and 31
    found = summarise(np.array([0.5, 0.25, 0.1, 0.1]), [1, 0, 0, 1])

    assert np.flatnonzero(found.rows).tolist() == [31, 35, 40]
    assert found.rows[31] == 2 and found.clicks[31] == 1
    assert found.expected[31] == pytest.approx(0.2)
    assert label(31, 32) == "9.5 % to 12 %"


@given(PROBABILITIES)
def test_every_probability_has_a_bin_and_survives_the_journal(probabilities: np.ndarray) -> None:
    clicked = probabilities > 0.5
    found = summarise(probabilities, clicked)
    back = Predictions.from_json(found.to_json())

    assert found.rows.sum() == len(probabilities)
    assert found.expected.sum() == pytest.approx(probabilities.sum())
    assert found.clicks.sum() == clicked.sum()
    np.testing.assert_allclose(back.rows, found.rows)
    np.testing.assert_allclose(back.expected, found.expected, atol=1e-6)


@given(PROBABILITIES, PROBABILITIES)
def test_days_add_up(first: np.ndarray, second: np.ndarray) -> None:
    parts = [summarise(each, each > 0.5) for each in (first, second)]
    whole = summarise(np.concatenate([first, second]), np.concatenate([first, second]) > 0.5)
    np.testing.assert_allclose(combine(parts).expected, whole.expected)
    assert combine(parts).rows.tolist() == whole.rows.tolist()


def test_the_ends_are_open() -> None:
    assert label(0, 3).startswith("below") and label(70, BINS).startswith("above")
