"""How far a day is from its reference, column by column: sizes and words, and no verdict.

A size is on a scale on which equal shifts are equal whatever the number of rows; what sampling
alone would show stands beside it. Whether a size is unusual is for who knows the days before.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tasks.drift import measures
from tasks.drift.profile import Novelty, Profile, bin_value
from tasks.drift.words import moved, percent
from tasks.errors import DriftError

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
class Effect:
    """One column's shift; `column` and `measure` together name it."""

    column: str
    measure: str
    value: float
    """Its size as observed, sampling included: at least 0, nothing taken off."""
    noise: float
    """Root mean square of `value` if nothing had changed, both sizes given: squares add."""
    words: str
    """The segments that moved most: share now, share before."""
    degrees: float = 1.0
    """Of freedom: if nothing had changed, degrees × (value / noise)² is about χ² with so many."""

    @property
    def shift(self) -> float:
        """Best estimate of the true shift: √(value² − noise²), 0 where noise exceeds it."""
        return math.sqrt(max(self.value**2 - self.noise**2, 0.0))

    @property
    def chance(self) -> float:
        """Probability that sampling alone shows so much or more."""
        return measures.chance(self.value, self.noise, self.degrees)


def measure_effects(reference: Profile, current: Profile) -> list[Effect]:
    """Every column's shift from `reference` to `current`.

    A column that both sides lack is left out; so is novelty that no earlier day was there to
    judge, and embeddings of different encoders.

    Raises:
        DriftError: one of the two is empty.
    """
    if not reference.rows or not current.rows:
        raise DriftError("A profile without rows cannot be compared: profile the days again.")
    found = [
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
    return [effect for effect in found if effect is not None]


Size = Callable[[Profile], float]


def _impressions(profile: Profile) -> float:
    """Rows of one impression share its hour, surface, length and topics: they count once."""
    return profile.impressions


def _users(profile: Profile) -> float:
    return float(profile.users.get_estimate())


def _dwell_times(profile: Profile) -> float:
    return sum(profile.counts["dwell_seconds"].values())


def _mix(column: str, reference: Profile, current: Profile, size: Size) -> Effect | None:
    """An open set of values, each a group of its own."""
    before, now = reference.counts[column], current.counts[column]
    if not before or not now:
        return None
    values = sorted({*before, *now})
    p, q = _shares(before, values), _shares(now, values)
    words = moved(values, p, q, _UNITS[column])
    return _distance(column, p, q, size(reference), size(current), words)


def _bins(column: str, reference: Profile, current: Profile, size: Size) -> Effect | None:
    """An ordered column, in groups that hold about as much each in the reference."""
    before = {int(value): count for value, count in reference.counts[column].items()}
    now = {int(value): count for value, count in current.counts[column].items()}
    if not before or not now:
        return None
    edges = measures.quantile_edges(before, PARTS)
    p, q = _grouped(before, edges), _grouped(now, edges)
    words = moved(_labels(column, edges), p, q, _UNITS[column])
    return _distance(column, p, q, size(reference), size(current), words)


def _distance(
    column: str, p: measures.Shares, q: measures.Shares, n: float, m: float, words: str
) -> Effect:
    """Jensen-Shannon distance: the root of the divergence."""
    degrees = max(int(np.count_nonzero(p + q)) - 1, 1)
    value = math.sqrt(measures.jensen_shannon(p, q))
    noise = math.sqrt(measures.jensen_shannon_noise(degrees, n, m))
    return Effect(column, "JS distance", value, noise, words, degrees)


def _click_rate(reference: Profile, current: Profile) -> Effect:
    value, noise = measures.log_ratio(
        reference.clicks, reference.rows, current.clicks, current.rows
    )
    before, now = reference.clicks / reference.rows, current.clicks / current.rows
    words = f"{percent(now)} clicked, was {percent(before)}" + _clicked_most(reference, current)
    return Effect("click_rate", "log ratio", value, noise, words)


def _clicked_most(reference: Profile, current: Profile) -> str:
    """The category or position whose click rate moved most beyond noise."""
    found: list[tuple[float, str]] = []
    for column in ("category", "position"):
        for value in {*reference.clicks_by[column], *current.clicks_by[column]}:
            clicks, rows = _clicks(reference, column, value), _clicks(current, column, value)
            if clicks[1] and rows[1]:
                ratio, noise = measures.log_ratio(*clicks, *rows)
                name = value if column == "category" else f"position {value}"
                said = f"{percent(rows[0] / rows[1])}, was {percent(clicks[0] / clicks[1])}"
                found.append((ratio - 3 * noise, f"; {name} {said}"))
    return max((each for each in found if each[0] > 0), default=(0, ""))[1]


def _clicks(profile: Profile, column: str, value: str) -> tuple[int, int]:
    return profile.clicks_by[column].get(value, 0), profile.counts[column].get(value, 0)


def _novelty(
    column: str, what: str, reference: Profile, current: Profile, size: Size
) -> Effect | None:
    """Against the reference's own novelty: half of a news day is new on any day."""
    usual: Novelty = getattr(reference, column)
    today: Novelty = getattr(current, column)
    before, now = usual.share, today.share
    if before is None or now is None:
        return None
    value, noise = measures.share_shift(before, size(reference), now, size(current))
    words = f"{percent(now)} of candidates from {what} unseen before, was {percent(before)}"
    return Effect(column, "share shift", value, noise, words)


def _embedding(reference: Profile, current: Profile) -> Effect | None:
    before, now = reference.embedding, current.embedding
    if before is None or now is None or not before.rows or not now.rows:
        return None
    if (before.encoder, before.total.shape) != (now.encoder, now.total.shape):
        return None
    first, second = before.total / before.rows, now.total / now.rows
    value, noise = measures.standardised_distance(
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
    return Effect("item_embedding", "standardised distance", value, noise, words)


def _nulls(reference: Profile, current: Profile) -> list[Effect]:
    """Columns whose values went missing or came back; those always full or empty are left out."""
    effects = []
    for column in sorted({*reference.nulls, *current.nulls}):
        before = reference.nulls.get(column, reference.rows) / reference.rows
        now = current.nulls.get(column, current.rows) / current.rows
        if before == now and before in (0.0, 1.0):
            continue
        value, noise = measures.share_shift(before, reference.impressions, now, current.impressions)
        words = f"{percent(now)} missing, was {percent(before)}"
        effects.append(Effect(column, "null share", value, noise, words))
    return effects


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
