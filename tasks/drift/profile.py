"""What one day of interactions looked like, in a few kilobytes that add up to what a week did.

Counts and sums are exact, and `merge` adds them: the profile of two days together is the two
days' profiles merged, bit by bit. Only distinct ids are estimated (`sketches`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.drift import sketches
from tasks.errors import DriftError

MAX_VALUES = 1000
"""Most distinct values counted one by one; the rarest of more are counted as OTHER."""

OTHER = "(other)"
UNKNOWN = "(none)"

LOG_BASE = 1.05
"""Width of a bin of a positive number: quantiles are within 2.5 % of the value."""

NULLABLE = ("position", "surface", "dwell_seconds")

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Novelty:
    """How much of the days was unseen before each of them; sums over the days judged."""

    unseen: float = 0.0
    judged: int = 0

    @property
    def share(self) -> float | None:
        """Share unseen; None if no day had a day before it."""
        return self.unseen / self.judged if self.judged else None


@dataclass(frozen=True)
class MeanEmbedding:
    """Sum of the embeddings of the candidates shown, each as often as it was shown."""

    encoder: str
    """What made them; only equal encoders are compared."""
    total: npt.NDArray[np.float64]
    """(D,)"""
    squares: float
    """Sum of squared norms."""
    rows: int


@dataclass(frozen=True)
class ItemEmbeddings:
    """Embeddings to profile with: `vectors[i]` (D,) is that of `ids[i]`."""

    ids: pa.Array
    vectors: npt.NDArray[np.float32]
    encoder: str


@dataclass(frozen=True)
class Profile:
    """One day, or several merged; see the module."""

    days: tuple[date, ...]
    rows: int
    clicks: int
    impressions: int
    counts: Mapping[str, Counts]
    """Rows (candidates: impressions) by column, then by value or bin, as text."""
    clicks_by: Mapping[str, Counts]
    """Clicks by category and position."""
    nulls: Counts
    """Rows without a value, by column."""
    items: Any
    """Theta sketch of the items shown."""
    users: Any
    """Theta sketch of the users."""
    new_items: Novelty
    """Candidate rows whose item no earlier day showed."""
    new_users: Novelty
    """Candidate rows whose user no earlier day saw."""
    embedding: MeanEmbedding | None

    @property
    def period(self) -> str:
        """`2019-11-09`, or `2019-11-09 to 2019-11-10`."""
        first, last = min(self.days), max(self.days)
        return str(first) if first == last else f"{first} to {last}"


def profile_day(
    rows: pa.Table,
    day: date,
    *,
    catalogue: pa.Table,
    before: Profile | None = None,
    embeddings: ItemEmbeddings | None = None,
    time_zone: str = "UTC",
) -> Profile:
    """Read the rows of `day` once; no later comparison needs them again.

    Args:
        rows: the day's partition, with event_time, impression_id, user_id, item_id, position,
            label, surface and dwell_seconds of INTERACTIONS.
        catalogue: item_id and category; a second row of an item is not looked at.
        before: the days against which an item or user is new; None leaves novelty unjudged.
        embeddings: of the catalogue's items; items without one are left out of the mean.
        time_zone: of the hours of the day.

    Raises:
        DriftError: there are no rows.
    """
    if not rows.num_rows:
        raise DriftError(f"{day} has no rows to profile: publish the day first.")
    clicked = rows["label"].to_numpy().astype(np.float64)
    items, item_codes = sketches.count_distinct(rows["item_id"])
    users, user_codes = sketches.count_distinct(rows["user_id"])
    _, impression_codes = sketches.count_distinct(rows["impression_id"])
    item_rows = np.bincount(item_codes, minlength=len(items))
    user_rows = np.bincount(user_codes, minlength=len(users))
    item_clicks = np.bincount(item_codes, weights=clicked, minlength=len(items))
    slates = np.bincount(impression_codes)

    categories = _categories(items, catalogue)
    positions = _positions(rows)
    return Profile(
        days=(day,),
        rows=rows.num_rows,
        clicks=int(clicked.sum()),
        impressions=len(slates),
        counts={
            "category": _weigh(categories, item_rows),
            "surface": _count_text(rows["surface"]),
            "position": _tally(positions),
            "hour": _tally(_hours(rows["event_time"], time_zone)),
            "candidates": _tally(np.minimum(slates, MAX_VALUES - 1)),
            "dwell_seconds": _tally(_bins(_present(rows["dwell_seconds"]))),
        },
        clicks_by={
            "category": _weigh(categories, item_clicks),
            "position": _tally(_positions(rows.filter(pc.equal(rows["label"], 1)))),
        },
        nulls={name: rows[name].null_count for name in NULLABLE},
        items=sketches.sketch(items),
        users=sketches.sketch(users),
        new_items=_novelty(items, item_rows, before.items if before else None),
        new_users=_novelty(users, user_rows, before.users if before else None),
        embedding=_mean_embedding(items, item_rows, embeddings) if embeddings else None,
    )


def merge(profiles: Sequence[Profile]) -> Profile:
    """The profile of all the days together.

    Raises:
        DriftError: nothing to merge, or a day given twice.
    """
    if not profiles:
        raise DriftError("There is no profile to merge: profile at least one day first.")
    days = [day for profile in profiles for day in profile.days]
    if twice := [str(day) for day, times in Counter(days).items() if times > 1]:
        raise DriftError(f"{', '.join(twice)} would count twice: merge each day once.")
    return Profile(
        days=tuple(sorted(days)),
        rows=sum(profile.rows for profile in profiles),
        clicks=sum(profile.clicks for profile in profiles),
        impressions=sum(profile.impressions for profile in profiles),
        counts=_add_all([profile.counts for profile in profiles]),
        clicks_by=_add_all([profile.clicks_by for profile in profiles]),
        nulls=_add([profile.nulls for profile in profiles]),
        items=sketches.union([profile.items for profile in profiles]),
        users=sketches.union([profile.users for profile in profiles]),
        new_items=_add_novelty([profile.new_items for profile in profiles]),
        new_users=_add_novelty([profile.new_users for profile in profiles]),
        embedding=_add_embeddings([profile.embedding for profile in profiles]),
    )


def bin_value(number: int) -> float:
    """The lower edge of bin `number` of a positive column; bin 0 holds what is at most 0."""
    return 0.0 if number == 0 else float(LOG_BASE ** (number - _OFFSET))


_OFFSET = 200
"""Bin number of the value 1; a bin below 1 is a value under 0.00006 and shares the first."""


def _bins(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Logarithmic bins, as DDSketch has them (Masson et al., VLDB 2019): exact to merge."""
    logs = np.log(np.maximum(values, LOG_BASE ** (1 - _OFFSET))) / np.log(LOG_BASE)
    # the tolerance keeps powers of the base, such as 1, at their own lower edge
    numbers = np.clip(np.floor(logs + 1e-9).astype(np.int64) + _OFFSET, 1, MAX_VALUES - 1)
    return np.where(values > 0, numbers, 0)


def _present(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    values = column.drop_null().to_numpy().astype(np.float64)
    return values[np.isfinite(values)]


def _positions(rows: pa.Table) -> npt.NDArray[np.int64]:
    return np.clip(_present(rows["position"]).astype(np.int64), 0, MAX_VALUES - 1)


def _hours(times: pa.ChunkedArray, time_zone: str) -> npt.NDArray[np.int64]:
    local: npt.NDArray[np.int64] = pc.hour(times.cast(pa.timestamp("us", time_zone))).to_numpy()
    return local


def _tally(numbers: npt.NDArray[np.int64]) -> dict[str, int]:
    counts = np.bincount(numbers)
    return {str(number): int(counts[number]) for number in np.flatnonzero(counts)}


def _count_text(column: pa.ChunkedArray) -> dict[str, int]:
    values, codes = sketches.count_distinct(column)
    return _weigh(values, np.bincount(codes[codes >= 0], minlength=len(values)))


def _weigh(values: Sequence[str], weights: npt.NDArray[Any]) -> dict[str, int]:
    """Weights summed by value."""
    names, codes = np.unique(np.asarray(values, dtype=object), return_inverse=True)
    sums = np.bincount(codes, weights=weights, minlength=len(names))
    return _capped({str(name): int(weight) for name, weight in zip(names, sums, strict=True)})


def _capped(counts: dict[str, int]) -> dict[str, int]:
    if len(counts) <= MAX_VALUES:
        return counts
    by_size = sorted(counts.items(), key=lambda entry: (entry[0] == OTHER, -entry[1], entry[0]))
    kept = dict(by_size[: MAX_VALUES - 1])
    return {**kept, OTHER: sum(counts.values()) - sum(kept.values())}


def _categories(items: list[str], catalogue: pa.Table) -> list[str]:
    """Each item's category; what the catalogue does not say is UNKNOWN."""
    at = pc.index_in(pa.array(items, pa.string()), value_set=catalogue["item_id"])
    found = catalogue["category"].cast(pa.string()).combine_chunks().take(at)
    return found.fill_null(UNKNOWN).to_pylist()


def _novelty(ids: list[str], weights: npt.NDArray[np.int64], seen: Any) -> Novelty:
    if seen is None:
        return Novelty()
    rows = int(weights.sum())
    return Novelty(sketches.unseen_share(ids, weights, seen) * rows, rows)


def _mean_embedding(
    items: list[str], item_rows: npt.NDArray[np.int64], embeddings: ItemEmbeddings
) -> MeanEmbedding:
    at = pc.index_in(pa.array(items, pa.string()), value_set=embeddings.ids)
    known = at.is_valid().to_numpy(zero_copy_only=False)
    vectors = embeddings.vectors[at.drop_null().to_numpy()].astype(np.float64)
    weights = item_rows[known]
    return MeanEmbedding(
        embeddings.encoder,
        weights @ vectors,
        float(weights @ np.einsum("nd,nd->n", vectors, vectors)),
        int(weights.sum()),
    )


def _add(counts: Sequence[Counts]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return _capped(dict(total))


def _add_all(columns: Sequence[Mapping[str, Counts]]) -> dict[str, dict[str, int]]:
    names = list(dict.fromkeys(name for one in columns for name in one))
    return {name: _add([one.get(name, {}) for one in columns]) for name in names}


def _add_novelty(parts: Sequence[Novelty]) -> Novelty:
    return Novelty(sum(part.unseen for part in parts), sum(part.judged for part in parts))


def _add_embeddings(parts: Sequence[MeanEmbedding | None]) -> MeanEmbedding | None:
    """None as soon as the days have different encoders, or one has none: no common mean."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({(p.encoder, p.total.shape) for p in known}) != 1:
        return None
    return MeanEmbedding(
        known[0].encoder,
        np.sum([part.total for part in known], axis=0),
        sum(part.squares for part in known),
        sum(part.rows for part in known),
    )
