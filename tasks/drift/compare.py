"""What moved between the days a champion learned from and a new day, in figures and in words."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tasks.drift import measures
from tasks.drift.profile import Novelty, Profile, bin_value
from tasks.errors import ConfigError, DriftError

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
    "item_embedding": 0.1,
    "nulls": 0.05,
}
"""Effect size by column above which it has drifted.

Ten points of candidates that change category are a distance of 0.10 to 0.16. On the days of a real
news portal (1,000 impressions each) nothing but chance and the weekday moved category up to 0.07,
slate lengths to 0.10, the clock of a Monday after a weekend to 0.19, new items to 0.08, the mean
embedding and clicks to 0.07.
"""

PARTS = 10
"""Groups that an ordered column is cut into."""

_UNITS = {
    "category": "of candidates",
    "surface": "of candidates",
    "position": "of candidates",
    "hour": "of candidates",
    "candidates": "of impressions",
    "dwell_seconds": "of dwell times",
}


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


@dataclass(frozen=True)
class _Shift:
    column: str
    measure: str
    value: float
    words: str


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
    if not reference.rows or not current.rows:
        raise DriftError("A profile without rows cannot be compared: profile the days again.")
    limits = {**DEFAULT_THRESHOLDS, **thresholds}
    shifts = [
        _mix("category", reference, current, _impressions),
        _mix("surface", reference, current, _impressions),
        _bins("position", reference, current, _impressions),
        _bins("hour", reference, current, _impressions),
        _bins("candidates", reference, current, _impressions),
        _bins("dwell_seconds", reference, current, _dwell_times),
        _click_rate(reference, current),
        _novelty("new_items", "items", reference, current, _impressions),
        _novelty("new_users", "users", reference, current, _users),
        _embedding(reference, current),
        *_nulls(reference, current),
    ]
    return DriftReport(
        reference.period,
        [
            _judge(shift, limits["nulls" if shift.measure == "null share" else shift.column])
            for shift in shifts
            if shift is not None
        ],
    )


def _judge(shift: _Shift, threshold: float) -> ColumnDrift:
    value = round(shift.value, 6)
    return ColumnDrift(
        shift.column, shift.measure, value, threshold, value > threshold, shift.words
    )


Size = Callable[[Profile], float]


def _impressions(profile: Profile) -> float:
    """Rows of one impression share its hour, surface, length and topics: they count once."""
    return profile.impressions


def _users(profile: Profile) -> float:
    return float(profile.users.get_estimate())


def _dwell_times(profile: Profile) -> float:
    return sum(profile.counts["dwell_seconds"].values())


def _mix(column: str, reference: Profile, current: Profile, size: Size) -> _Shift | None:
    """An open set of values, each a group of its own."""
    before, now = reference.counts[column], current.counts[column]
    if not before or not now:
        return None
    values = sorted({*before, *now})
    p, q = _shares(before, values), _shares(now, values)
    value = _distance(p, q, size(reference), size(current))
    return _Shift(column, "JS distance", value, _moved(values, p, q, _UNITS[column]))


def _bins(column: str, reference: Profile, current: Profile, size: Size) -> _Shift | None:
    """An ordered column, in groups that hold about as much each in the reference."""
    before = {int(value): count for value, count in reference.counts[column].items()}
    now = {int(value): count for value, count in current.counts[column].items()}
    if not before or not now:
        return None
    edges = measures.quantile_edges(before, PARTS)
    p, q = _grouped(before, edges), _grouped(now, edges)
    value = _distance(p, q, size(reference), size(current))
    words = _moved(_labels(column, edges), p, q, _UNITS[column])
    return _Shift(column, "JS distance", value, words)


def _distance(p: measures.Shares, q: measures.Shares, n: float, m: float) -> float:
    """Jensen-Shannon distance (the root of the divergence) beyond noise."""
    noise = measures.jensen_shannon_noise(int(np.count_nonzero(p + q)), n, m)
    return math.sqrt(measures.beyond_noise(measures.jensen_shannon(p, q), noise))


def _click_rate(reference: Profile, current: Profile) -> _Shift:
    value = measures.log_ratio(reference.clicks, reference.rows, current.clicks, current.rows)
    before, now = reference.clicks / reference.rows, current.clicks / current.rows
    words = f"{_percent(now)} clicked, was {_percent(before)}"
    return _Shift("click_rate", "log ratio", value, words + _clicked_most(reference, current))


def _clicked_most(reference: Profile, current: Profile) -> str:
    """The category or position whose click rate moved most beyond noise."""
    found: list[tuple[float, str]] = []
    for column in ("category", "position"):
        for value in {*reference.clicks_by[column], *current.clicks_by[column]}:
            clicks, rows = _clicks(reference, column, value), _clicks(current, column, value)
            if moved := measures.log_ratio(*clicks, *rows):
                name = value if column == "category" else f"position {value}"
                was = clicks[0] / clicks[1]
                found.append((moved, f"{name} {_percent(rows[0] / rows[1])}, was {_percent(was)}"))
    return f"; {max(found)[1]}" if found else ""


def _clicks(profile: Profile, column: str, value: str) -> tuple[int, int]:
    return profile.clicks_by[column].get(value, 0), profile.counts[column].get(value, 0)


def _novelty(
    column: str, what: str, reference: Profile, current: Profile, size: Size
) -> _Shift | None:
    """Against the reference's own novelty: half of a news day is new on any day."""
    usual: Novelty = getattr(reference, column)
    today: Novelty = getattr(current, column)
    before, now = usual.share, today.share
    if before is None or now is None:
        return None
    value = measures.rate_shift(before, size(reference), now, size(current))
    words = f"{_percent(now)} of candidates from {what} unseen before, was {_percent(before)}"
    return _Shift(column, "share shift", value, words)


def _embedding(reference: Profile, current: Profile) -> _Shift | None:
    before, now = reference.embedding, current.embedding
    if before is None or now is None or not before.rows or not now.rows:
        return None
    if (before.encoder, before.total.shape) != (now.encoder, now.total.shape):
        return None
    first, second = before.total / before.rows, now.total / now.rows
    value = measures.standardised_distance(
        first,
        max(before.squares / before.rows - float(first @ first), 0.0),
        _impressions(reference),
        second,
        max(now.squares / now.rows - float(second @ second), 0.0),
        _impressions(current),
    )
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    cosine = float(first @ second) / lengths if lengths else 1.0
    words = f"mean candidate moved {value:.2f} standard deviations, cosine {cosine:.3f}"
    return _Shift("item_embedding", "standardised distance", value, words)


def _nulls(reference: Profile, current: Profile) -> list[_Shift]:
    """Columns whose values went missing or came back; those always full or empty are left out."""
    shifts = []
    for column in sorted({*reference.nulls, *current.nulls}):
        before = reference.nulls.get(column, reference.rows) / reference.rows
        now = current.nulls.get(column, current.rows) / current.rows
        if before == now and before in (0.0, 1.0):
            continue
        value = measures.rate_shift(before, reference.impressions, now, current.impressions)
        words = f"{_percent(now)} missing, was {_percent(before)}"
        shifts.append(_Shift(column, "null share", value, words))
    return shifts


def _shares(counts: Mapping[str, int], values: list[str]) -> measures.Shares:
    weights = np.array([counts.get(value, 0) for value in values], dtype=np.float64)
    return weights / weights.sum()


def _grouped(counts: Mapping[int, int], edges: list[int]) -> measures.Shares:
    groups = np.searchsorted(edges, list(counts), side="right")
    weights = np.bincount(groups, weights=list(counts.values()), minlength=len(edges) + 1)
    return weights / weights.sum()


def _labels(column: str, edges: list[int]) -> list[str]:
    def text(edge: int, back: int = 0) -> str:
        return f"{bin_value(edge):.3g}" if column == "dwell_seconds" else str(edge - back)

    middle = [
        text(low) if low + 1 == high else f"{text(low)} to {text(high, 1)}"
        for low, high in pairwise(edges)
    ]
    return [
        f"{column} {label}"
        for label in [f"below {text(edges[0])}", *middle, f"from {text(edges[-1])}"]
    ]


def _moved(labels: list[str], p: measures.Shares, q: measures.Shares, unit: str) -> str:
    """The two segments whose shares moved most, the largest first."""
    most = np.argsort(-np.abs(q - p), kind="stable")[:2]
    parts = [f"{labels[i]}: {_percent(q[i])} {unit}, was {_percent(p[i])}" for i in most]
    return "; ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
