import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tasks.errors import EvaluationError
from tasks.evaluation.curves import curves, roc_points
from tasks.evaluation.metrics import (
    calibration_bins,
    expected_calibration_error,
    log_loss,
    pooled_auc,
)

probabilities = st.lists(
    st.tuples(st.floats(0, 1, allow_subnormal=False), st.booleans()), min_size=1, max_size=80
)


def test_log_loss_worked_by_hand():
    # −(ln .8 + ln (1 − .4)) / 2
    assert log_loss([0.8, 0.4], [1, 0]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)


def test_a_sure_miss_costs_much_but_not_infinity():
    assert log_loss([0.0], [1]) == pytest.approx(-math.log(1e-7))


@given(probabilities)
def test_log_loss_agrees_with_scikit_learn(rows):
    said, clicked = np.array([p for p, _ in rows]), np.array([c for _, c in rows])
    expected = sklearn_metrics.log_loss(clicked, said.clip(1e-7, 1 - 1e-7), labels=[False, True])
    assert log_loss(said, clicked) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [log_loss, expected_calibration_error])
def test_a_score_that_is_no_probability_is_refused(metric):
    with pytest.raises(EvaluationError, match=r"from -0.5 to 1.5, .* Apply the model's sigmoid"):
        metric([-0.5, 1.5], [0, 1])


def test_calibration_error_worked_by_hand():
    # ten rows of .1 with 3 clicks, ten of .6 with 4: 1/2 · |.1 − .3| + 1/2 · |.6 − .4|
    said = [0.1] * 10 + [0.6] * 10
    clicked = [1] * 3 + [0] * 7 + [1] * 4 + [0] * 6
    assert expected_calibration_error(said, clicked) == pytest.approx(0.2)
    predicted, observed, rows = calibration_bins(said, clicked)
    assert predicted.tolist() == pytest.approx([0.1, 0.6])
    assert observed.tolist() == pytest.approx([0.3, 0.4])
    assert rows.tolist() == [10, 10]


def test_distinct_scores_fill_ten_bins_of_equal_mass():
    said = np.linspace(0.01, 0.05, 1000)
    _, _, rows = calibration_bins(said, np.arange(1000) % 25 == 0)
    assert rows.tolist() == [100] * 10


@given(probabilities)
def test_the_bins_hold_every_row_once_and_rise(rows):
    said, clicked = np.array([p for p, _ in rows]), np.array([c for _, c in rows])
    predicted, observed, num_rows = calibration_bins(said, clicked)
    assert num_rows.sum() == len(rows)
    assert observed @ num_rows == pytest.approx(clicked.sum())
    assert predicted @ num_rows == pytest.approx(said.sum())
    assert (np.diff(predicted) > -1e-12).all()
    assert 0 <= expected_calibration_error(said, clicked) <= 1


def test_the_roc_curve_worked_by_hand():
    # from the top: click, tie of click and skip, skip
    assert roc_points([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]


@given(probabilities)
def test_the_roc_curve_runs_from_corner_to_corner_and_never_falls(rows):
    said = [p for p, _ in rows] + [0.5, 0.5]
    clicked = [c for _, c in rows] + [True, False]
    points = np.array(roc_points(said, clicked))
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert (np.diff(points, axis=0) >= 0).all()


def test_a_long_roc_curve_is_thinned_and_keeps_its_area():
    rng = np.random.default_rng(5)
    clicked = rng.random(20_000) < 0.05
    said = (rng.random(20_000) + clicked) / 2
    points = np.array(roc_points(said, clicked))
    assert len(points) <= 101
    area = np.trapezoid(points[:, 1], points[:, 0])
    assert area == pytest.approx(pooled_auc(said, clicked), abs=2e-3)


def test_curves_are_plain_json_numbers():
    drawn = curves([0.9, 0.5, 0.1], [1, 0, 0])
    assert drawn["roc"][-1] == [1.0, 1.0]
    assert [type(value) for value in drawn["calibration"][0]] == [float, float, int]
