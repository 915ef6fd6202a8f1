"""The smallest shift of a column that matters, and the checks of an operator's own."""

import difflib
from collections.abc import Mapping

from tasks.errors import ConfigError

BY_COLUMN: Mapping[str, float] = {
    "category": 0.06,
    "surface": 0.06,
    "position": 0.06,
    "hour": 0.1,
    "candidates": 0.06,
    "history_length": 0.06,
    "dwell_seconds": 0.1,
    "context": 0.06,
    "volume": 0.4,
    "click_rate": 0.15,
    "clicks_on_same_items": 0.1,
    "clicks_by_category": 0.25,
    "clicks_by_position": 0.15,
    "new_items": 0.05,
    "new_users": 0.05,
    "new_categories": 0.03,
    "item_embedding": 0.025,
    "item_covariance": 0.03,
    "item_mmd": 0.02,
    "item_classifier": 0.03,
    "predictions": 0.06,
    "calibration": 0.1,
    "calibration_by_prediction": 0.15,
    "nulls": 0.03,
    "schema": 0.01,
}
"""Shift by column that is worth a look: about five points of candidates, a tenth of the clicks."""


def threshold_of(column: str, measure: str, own: Mapping[str, float]) -> float:
    """The threshold of a column's measure: the operator's own, else the default."""
    name = named_by(column, measure)
    return own.get(column, own.get(name, BY_COLUMN[name]))


def named_by(column: str, measure: str) -> str:
    """What `drift.thresholds` calls a column: null shares have one name, fields of the context another."""
    if measure == "null share":
        return "nulls"
    return "context" if column.startswith("context.") else column


def check_thresholds(thresholds: Mapping[str, float]) -> None:
    """Refuse names and values that mean nothing.

    Raises:
        ConfigError: all of them, with the allowed names.
    """
    allowed = ", ".join(BY_COLUMN)
    faults = []
    for name, value in thresholds.items():
        if name not in BY_COLUMN and not name.startswith("context."):
            close = difflib.get_close_matches(name, BY_COLUMN, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            faults.append(f"drift.thresholds has no {name!r}{hint}: it may name {allowed}")
        elif not value > 0:
            faults.append(f"drift.thresholds.{name} is {value}: make it greater than 0")
    if faults:
        raise ConfigError("\n".join(faults))
