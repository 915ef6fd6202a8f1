"""What moved between the days a champion learned from and a new day, in figures and in words."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tasks.drift.effects import Effect, measure_effects
from tasks.drift.profile import Profile
from tasks.errors import ConfigError

DEFAULT_THRESHOLDS: Mapping[str, float] = {
    "category": 0.1,
    "surface": 0.1,
    "position": 0.15,
    "hour": 0.25,
    "candidates": 0.15,
    "dwell_seconds": 0.15,
    "click_rate": 0.18,
    "new_items": 0.15,
    "new_users": 0.15,
    "new_categories": 0.05,
    "history_length": 0.15,
    "context": 0.15,
    "volume": 0.7,
    "clicks_by_category": 0.4,
    "clicks_by_position": 0.4,
    "item_embedding": 0.1,
    "item_covariance": 0.1,
    "item_mmd": 0.1,
    "predictions": 0.15,
    "calibration": 0.18,
    "calibration_by_prediction": 0.25,
    "nulls": 0.05,
    "schema": 0.05,
}
"""Effect size by column above which it has drifted.

Ten points of candidates that change category are a distance of 0.10 to 0.16. On the days of a real
news portal (1,000 impressions each) nothing but chance and the weekday moved category up to 0.07,
slate lengths to 0.10, the clock of a Monday after a weekend to 0.19, new items to 0.08, the mean
embedding and clicks to 0.07.
"""


@dataclass(frozen=True)
class ColumnDrift:
    """One column's shift."""

    column: str
    measure: str
    value: float
    """Effect size, beyond what sampling explains."""
    threshold: float
    drifted: bool
    """value > threshold."""
    words: str
    """The segments that moved most: share now, share before."""


@dataclass(frozen=True)
class DriftReport:
    """What moved against the reference days."""

    reference: str
    columns: list[ColumnDrift]

    @property
    def drifted(self) -> bool:
        """Whether any column did."""
        return any(column.drifted for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """The day's record under "drift"."""
        return {
            "drifted": self.drifted,
            "reference": self.reference,
            "columns": [asdict(column) for column in self.columns],
        }


def check_thresholds(thresholds: Mapping[str, float]) -> None:
    """Refuse names and values that mean nothing.

    Raises:
        ConfigError: all of them, with the allowed names.
    """
    allowed = ", ".join(DEFAULT_THRESHOLDS)
    faults = []
    for name, value in thresholds.items():
        if name not in DEFAULT_THRESHOLDS:
            close = difflib.get_close_matches(name, DEFAULT_THRESHOLDS, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            faults.append(f"drift.thresholds has no {name!r}{hint}: it may name {allowed}")
        elif not value > 0:
            faults.append(f"drift.thresholds.{name} is {value}: make it greater than 0")
    if faults:
        raise ConfigError("\n".join(faults))


def compare(
    reference: Profile, current: Profile, *, thresholds: Mapping[str, float]
) -> DriftReport:
    """Hold `current` against `reference`, column by column.

    A column that both sides lack is left out; so is novelty that no earlier day was there to
    judge, and the mean embedding of different encoders.

    Args:
        reference: the champion's training window, merged.
        current: the new day.
        thresholds: by column; those not named keep their default.

    Raises:
        ConfigError: an unknown name or a threshold that is not positive.
        DriftError: one of the two is empty.
    """
    check_thresholds(thresholds)
    limits = {**DEFAULT_THRESHOLDS, **thresholds}
    effects = measure_effects(reference, current)
    return DriftReport(
        reference.period,
        [_judge(effect, limits[_named(effect)]) for effect in effects],
    )


def _judge(effect: Effect, threshold: float) -> ColumnDrift:
    value = round(_beyond_sampling(effect), 6)
    return ColumnDrift(
        effect.column, effect.measure, value, threshold, value > threshold, effect.words
    )


def _named(effect: Effect) -> str:
    if effect.measure == "null share":
        return "nulls"
    return "context" if effect.column.startswith("context.") else effect.column


def _beyond_sampling(effect: Effect) -> float:
    """What is left of the squared size after its mean and two standard deviations under no change."""
    reach = 1 + 2 * math.sqrt(2 / effect.degrees)
    return math.sqrt(max(effect.value**2 - reach * effect.noise**2, 0.0))
