"""Staged Parquet for tests: 200 good rows of one day, with single values replaced on request."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.interactions.schema import INTERACTIONS

DAY = date(2026, 3, 1)
ROWS = 200
ITEMS = pa.array([f"N{number}" for number in range(50)])


def good_rows(rows: int = ROWS, day: date = DAY, first: int = 0) -> list[dict[str, Any]]:
    """Rows with every twentieth candidate clicked, spread over the UTC day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return [
        {
            "event_id": f"e{first + number}",
            "event_time": midnight + timedelta(seconds=number * 86_400 / rows),
            "event_date": day,
            "impression_id": f"i{number // 20}",
            "user_id": f"u{number // 20}",
            "item_id": f"N{number % 50}",
            "position": number % 20 + 1,
            "label": int(number % 20 == 0),
            "surface": "home",
            "dwell_seconds": 12.5 if number % 20 == 0 else None,
            "ingest_time": midnight + timedelta(days=1),
            "source": "logs/a.json.gz",
            "source_day": day,
        }
        for number in range(rows)
    ]


def stage(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One staged file; unlike the lake's, it may lack a value anywhere."""
    schema = pa.schema([field.with_nullable(True) for field in INTERACTIONS])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=64)
    return path
