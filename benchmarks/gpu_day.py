"""A synthetic day of a news portal at MIND's sizes, for `gpu.py`."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.interactions.schema import HISTORY, UTC_TIME
from tasks.simulator.titles import compose

SLATE, READ = 37, 32
TOPICS = 12
MIDNIGHT_US = 1_573_603_200_000_000
"""2019-11-13, in µs since 1970."""
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Day:
    """Rows in time order, slate by slate, and the catalogue."""

    rows: pa.Table
    catalogue: pa.Table
    slate_size: int = SLATE


def make_day(impressions: int, items: int, seed: int = 0) -> Day:
    """A day of so many impressions: readers of one topic, who click one candidate of it if there is one."""
    draw = np.random.default_rng(seed)
    topic = draw.integers(TOPICS, size=items)
    titles, _ = compose(draw, topic, np.zeros(items, np.bool_))
    ids = pa.array([f"N{number}" for number in range(items)])
    catalogue = pa.table({"item_id": ids, "title": titles, "category": pa.array(topic.astype(str))})
    # Few items get most of the impressions.
    shown = (items * draw.random((impressions, SLATE)) ** 3).astype(np.int64)
    taste = draw.integers(TOPICS, size=impressions)
    appeal = draw.random(shown.shape) + (topic[shown] == taste[:, None])
    clicked = appeal.argmax(1)[:, None] == np.arange(SLATE)
    time = np.sort(draw.integers(DAY_US, size=impressions)) + MIDNIGHT_US
    times = pa.array(np.repeat(time, SLATE)).cast(UTC_TIME)
    slate = pa.array(np.arange(impressions)).cast(pa.string())
    of_row = pa.array(np.repeat(np.arange(impressions), SLATE))
    rows = pa.table(
        {
            "event_time": times,
            "event_date": times.cast(pa.date32()),
            "impression_id": slate.take(of_row),
            "user_id": slate.take(of_row),
            "item_id": ids.take(pa.array(shown.ravel())),
            "label": pa.array(clicked.ravel().astype(np.int8)),
            "history": _histories(draw, topic, taste, ids).take(of_row),
        }
    )
    return Day(rows, catalogue)


def _histories(
    draw: np.random.Generator, topic: np.ndarray, taste: np.ndarray, ids: pa.Array
) -> pa.ListArray:
    """READ items each; half of them of the reader's topic."""
    by_topic = np.argsort(topic, kind="stable")
    start = np.searchsorted(topic[by_topic], np.arange(TOPICS + 1))
    first, last = start[taste], np.maximum(start[taste + 1], start[taste] + 1)
    own = first[:, None] + (draw.random((len(taste), READ)) * (last - first)[:, None]).astype(int)
    own = by_topic[np.minimum(own, len(topic) - 1)]
    other = draw.integers(len(topic), size=own.shape)
    read = np.where(draw.random(own.shape) < 0.5, own, other).ravel()
    entries = pa.StructArray.from_arrays(
        [ids.take(pa.array(read)), pa.array(np.ones(len(read), np.int8))],
        fields=list(HISTORY.value_type),
    )
    offsets = pa.array(np.arange(len(taste) + 1, dtype=np.int32) * READ)
    return pa.ListArray.from_arrays(offsets, entries)
