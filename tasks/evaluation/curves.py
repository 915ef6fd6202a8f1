"""ROC and calibration curves, small enough for the day's record."""

from typing import TypedDict

import numpy as np

from tasks.evaluation.metrics import calibration_bins
from tasks.evaluation.slates import Column, check_scores, pool, tie_runs

MAX_ROC_POINTS = 101


class Curves(TypedDict):
    """One model's curves as JSON."""

    roc: list[list[float]]
    """[false positive rate, true positive rate], from [0, 0] to [1, 1]."""
    calibration: list[list[float]]
    """[mean predicted probability, observed click rate, rows], low to high."""


def curves(scores: Column, clicked: Column) -> Curves:
    """Both curves of (N,) click probabilities over all rows.

    Raises:
        EvaluationError: a score is not a probability, or everything or nothing was clicked.
    """
    predicted, observed, rows = calibration_bins(scores, clicked)
    bins = zip(predicted.round(6).tolist(), observed.round(6).tolist(), rows, strict=True)
    return {
        "roc": roc_points(scores, clicked),
        "calibration": [[said, seen, int(num_rows)] for said, seen, num_rows in bins],
    }


def roc_points(scores: Column, clicked: Column) -> list[list[float]]:
    """At most 101 points of the ROC curve over all rows, thinned evenly along its length.

    Raises:
        EvaluationError: everything or nothing was clicked.
    """
    slates = pool(clicked)
    slates.require_ranking()
    runs = tie_runs(check_scores(scores, len(slates.slate)), slates)
    clicks, rows = int(slates.clicks[0]), int(slates.rows[0])
    hits = np.concatenate([[0], np.cumsum(runs.clicks)]) / clicks
    alarms = np.concatenate([[0], np.cumsum(runs.length - runs.clicks)]) / (rows - clicks)
    # Both rates only rise, so their sum walks the curve at a steady pace.
    stops = np.linspace(0, 2, MAX_ROC_POINTS)
    kept = np.unique(np.searchsorted(hits + alarms, stops).clip(max=len(hits) - 1))
    points: list[list[float]] = np.stack([alarms[kept], hits[kept]], axis=1).round(6).tolist()
    return points
