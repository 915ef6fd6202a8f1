"""What one day of interactions looked like, in a few hundred kilobytes that add up to what a week did.

Sums are exact, quantiles and distinct ids within the guarantees of their sketches, and `merge` adds
all of them: the profile of two days together is the two days' profiles merged, in any order.

Shapes: N rows.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.drift import context, mix, numbers, predictions, sketches, text
from tasks.drift.day_columns import (
    DayColumns,
    context_columns,
    listed_mixes,
    listed_numbers,
    listed_types,
    read_columns,
)
from tasks.drift.item_clicks import ITEM, count_items
from tasks.drift.mix import Mix
from tasks.drift.numbers import Numbers
from tasks.drift.predictions import Predictions
from tasks.drift.text import ItemEmbeddings, Text
from tasks.errors import DriftError

__all__ = ["ItemEmbeddings", "Novelty", "Profile", "merge", "profile_day"]

Counts = Mapping[str, int]
Part = TypeVar("Part")


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
class Profile:
    """One day, or several merged; see the module."""

    days: tuple[date, ...]
    rows: int
    clicks: int
    click_spread: float
    """Sampling variance of `clicks`: that of whole impressions drawn again."""
    impressions: int
    mixes: Mapping[str, Mix]
    """category, surface, position, hour, texts of the context (`context.device`), and the most shown
    items."""
    numbers: Mapping[str, Numbers]
    """candidates, history_length, dwell_seconds, and numbers of the context."""
    types: Mapping[str, Counts]
    """Rows by type, `null` among them: of columns that a producer may not log, and of the context's
    fields."""
    items: Any
    """Theta sketch of the items shown."""
    users: Any
    """Theta sketch of the users."""
    novelty: Mapping[str, Novelty]
    """Of items, users and categories: candidate rows of one that no earlier day had."""
    text: Text | None = None
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    """By version of the model that made them."""

    @property
    def period(self) -> str:
        """`2019-11-09`, or `2019-11-09 to 2019-11-10`."""
        first, last = min(self.days), max(self.days)
        return str(first) if first == last else f"{first} to {last}"

    def types_of(self, column: str) -> Counts:
        """Rows by type; a field of the context that no row had is null in all whose context was read."""
        if column in self.types:
            return self.types[column]
        return {context.NULL: sum(self.types.get("context", {}).values())}


def profile_day(
    rows: pa.Table,
    day: date,
    *,
    catalogue: pa.Table,
    before: Profile | None = None,
    embeddings: ItemEmbeddings | None = None,
    predicted: Mapping[str, Predictions] | None = None,
    time_zone: str = "UTC",
) -> Profile:
    """Read the rows of `day` once; no later comparison needs them again.

    Args:
        rows: the day's partition, with COLUMNS of INTERACTIONS; the OPTIONAL of them may be left out.
        catalogue: item_id and category; a second row of an item is not looked at.
        before: the days against which an item, user or category is new; None leaves that unjudged.
        embeddings: of the catalogue's items; items without one are left out.
        predicted: of these rows, by version of the model.
        time_zone: of the hours of the day.

    Raises:
        DriftError: there are no rows.
    """
    if not rows.num_rows:
        raise DriftError(f"{day} has no rows to profile: publish the day first.")
    columns = read_columns(rows)
    item_rows = np.bincount(columns.item_codes, minlength=len(columns.items)).astype(np.int64)
    user_rows = np.bincount(columns.user_codes, minlength=len(columns.users)).astype(np.int64)
    fields = context_columns(columns)
    mixes = {**listed_mixes(columns, catalogue, time_zone), **fields.mixes}
    mixes[ITEM] = count_items(columns.items, columns.item_codes, columns.clicked)
    described = {**listed_numbers(columns), **fields.numbers}
    return Profile(
        days=(day,),
        rows=rows.num_rows,
        clicks=int(columns.clicked.sum()),
        click_spread=_click_spread(columns),
        impressions=len(columns.slates.sizes),
        mixes={name: each for name, each in mixes.items() if each.total},
        numbers={name: each for name, each in described.items() if each.sketch.n},
        types={**listed_types(columns), **fields.types},
        items=sketches.sketch(columns.items),
        users=sketches.sketch(columns.users),
        novelty={
            "items": _novelty(columns.items, item_rows, before and before.items),
            "users": _novelty(columns.users, user_rows, before and before.users),
            "categories": _new_categories(mixes["category"], before),
        },
        text=text.describe(columns.items, item_rows, embeddings) if embeddings else None,
        predictions=dict(predicted or {}),
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
        click_spread=sum(profile.click_spread for profile in profiles),
        impressions=sum(profile.impressions for profile in profiles),
        mixes=_by_name([profile.mixes for profile in profiles], mix.combine),
        numbers=_by_name([profile.numbers for profile in profiles], numbers.combine),
        types=_add_types(profiles),
        items=sketches.union([profile.items for profile in profiles]),
        users=sketches.union([profile.users for profile in profiles]),
        novelty=_by_name([profile.novelty for profile in profiles], _add_novelty),
        text=text.combine([profile.text for profile in profiles]),
        predictions=_by_name([profile.predictions for profile in profiles], predictions.combine),
    )


def _click_spread(columns: DayColumns) -> float:
    """Σ over impressions of (clicks − rate × rows)²."""
    sizes = columns.slates.sizes
    clicks = np.bincount(columns.slates.codes, weights=columns.clicked, minlength=len(sizes))
    left = clicks - columns.clicked.mean() * sizes
    return float(left @ left)


def _novelty(ids: list[str], weights: npt.NDArray[np.int64], seen: Any) -> Novelty:
    if seen is None:
        return Novelty()
    rows = int(weights.sum())
    return Novelty(sketches.unseen_share(ids, weights, seen) * rows, rows)


def _new_categories(today: Mix, before: Profile | None) -> Novelty:
    if before is None or "category" not in before.mixes:
        return Novelty()
    seen = before.mixes["category"].rows_of(today.values) > 0
    return Novelty(float(today.rows[~seen].sum()), int(today.total))


def _by_name(
    parts: Sequence[Mapping[str, Part]], combine: Callable[[Sequence[Part]], Part]
) -> dict[str, Part]:
    names = sorted({name for part in parts for name in part})
    return {name: combine([part[name] for part in parts if name in part]) for name in names}


def _add_novelty(parts: Sequence[Novelty]) -> Novelty:
    return Novelty(sum(part.unseen for part in parts), sum(part.judged for part in parts))


def _add_types(profiles: Sequence[Profile]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for name in sorted({name for profile in profiles for name in profile.types}):
        total[name] = Counter()
        for profile in profiles:
            total[name].update(profile.types_of(name))
    return {name: dict(counts) for name, counts in total.items()}
