"""Arrow schemas of the lake's tables. Times are UTC; a day is a day in the source's time zone."""

import pyarrow as pa

UTC_TIME = pa.timestamp("us", tz="UTC")

HISTORY = pa.list_(pa.struct([("item_id", pa.string()), ("label", pa.int8())]))
"""What the user had seen before the impression, oldest first; label 1 = clicked or liked."""

INTERACTIONS = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_time", UTC_TIME, nullable=False),
        pa.field("event_date", pa.date32(), nullable=False),
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("position", pa.int32()),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("history", HISTORY),
        pa.field("surface", pa.string()),
        pa.field("dwell_seconds", pa.float64()),
        pa.field("context", pa.string()),
        pa.field("ingest_time", UTC_TIME, nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("source_day", pa.date32(), nullable=False),
    ]
)
"""One row: one candidate shown to one user. Partitioned by event_date and source_day.

`source_day` is the day whose files brought the row: a late row lies in its own day's partition,
and a corrected file of `source_day` replaces exactly the rows that the file had brought before.
"""

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("category", pa.string()),
        pa.field("attributes", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("published_at", UTC_TIME),
        pa.field("updated_at", UTC_TIME),
    ]
)
"""One row: one item, its newest state."""

QUARANTINE = pa.schema(
    [
        pa.field("raw", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
    ]
)
"""One row: one refused row, as it was read. Partitioned by day and run.

`run` is the revision that refused it; that of a catalogue begins with `items-`.
"""

ITEM_HOURS = pa.schema(
    [
        pa.field("event_date", pa.date32(), nullable=False),
        pa.field("hour", UTC_TIME, nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("impressions", pa.int64(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),
    ]
)
"""One row: how often one item was shown and clicked in the hour that starts at `hour`."""
