"""Days of interactions with chosen mixes, made column by column."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.drift.profile import Profile, profile_day
from tasks.interactions.schema import UTC_TIME

DAY = date(2026, 3, 1)
CATEGORIES = ["news", "sports", "finance", "travel"]
MIX = (0.4, 0.3, 0.2, 0.1)
ITEMS_EACH = 100
CATALOGUE = pa.table(
    {
        "item_id": [f"{name}-{number}" for name in CATEGORIES for number in range(ITEMS_EACH)],
        "category": [name for name in CATEGORIES for _ in range(ITEMS_EACH)],
    }
)


def day_rows(
    rows: int = 20_000,
    *,
    seed: int = 0,
    mix: tuple[float, ...] = MIX,
    click_rate: float = 0.05,
    slate: int = 20,
    first_item: int = 0,
    users: int = 1_000,
    day: date = DAY,
    **columns: Any,
) -> pa.Table:
    """`rows` candidates in slates; the keyword columns replace the drawn ones."""
    draw = np.random.default_rng(seed)
    impressions = np.arange(rows) // slate
    category = draw.choice(len(mix), rows, p=mix)
    item = category * ITEMS_EACH + draw.integers(first_item, ITEMS_EACH, rows)
    midnight = np.datetime64(day, "us")
    seconds = draw.integers(0, 86_400, rows // slate + 1)[impressions]
    label = (draw.random(rows) < click_rate).astype(np.int8)
    drawn = {
        "event_time": pa.array(midnight + seconds.astype("timedelta64[s]"), UTC_TIME),
        "impression_id": pa.array(impressions).cast(pa.string()),
        "user_id": pa.array(draw.integers(0, users, rows // slate + 1)[impressions]).cast("string"),
        "item_id": CATALOGUE["item_id"].take(pa.array(item)),
        "position": pa.array(np.arange(rows) % slate + 1, pa.int32()),
        "label": label,
        "surface": pa.array(["home", "app"]).take(pa.array(draw.random(rows) > 0.7).cast("int8")),
        "dwell_seconds": pa.array(draw.lognormal(3, 1, rows), mask=label == 0),
    }
    return pa.table({**drawn, **columns})


def profiled(rows: pa.Table, day: date = DAY, **arguments: Any) -> Profile:
    return profile_day(rows, day, catalogue=CATALOGUE, **arguments)


def after(days: int) -> date:
    return DAY + timedelta(days=days)
