"""The behaviour statistics that travel with a version, so that it can be served away from the lake.

They are only as fresh as the version; whoever serves it from the lake reads fresher ones.

    statistics.parquet   the most shown items: hourly counts, title, category, published_at
"""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import ModelError
from tasks.interactions.schema import ITEM_HOURS, UTC_TIME
from tasks.recommender.statistics import HOUR_US

STATISTICS = "statistics.parquet"
MAX_ITEMS = 5_000
MAX_ROWS = 60_000
"""Hours × items kept, the newest ones: with the items' titles under 2 MB."""
ITEM_COLUMNS = ("title", "text", "category", "published_at")
AS_OF = b"dayspring.as_of"


def save_statistics(
    folder: Path, item_hours: pa.Table, catalogue: pa.Table, as_of: datetime
) -> None:
    """Write the counts of hours completed by `as_of`, of the most shown items, into `folder`.

    Args:
        folder: a ranker's, beside `ranker.json`.
        item_hours: ITEM_HOURS; later hours are left out.
        catalogue: ITEMS; gives titles and categories.
        as_of: an aware time.
    """
    moment = pa.scalar(as_of, UTC_TIME)
    hours = pc.add(item_hours["hour"], pa.scalar(HOUR_US, pa.duration("us")))
    past = item_hours.filter(pc.less_equal(hours, moment)).sort_by([("hour", "descending")])
    past = past.slice(0, MAX_ROWS)
    shown = past.group_by("item_id").aggregate([("impressions", "sum")])
    shown = shown.sort_by([("impressions_sum", "descending"), ("item_id", "ascending")])
    ids = shown["item_id"].slice(0, MAX_ITEMS)
    past = past.filter(pc.is_in(past["item_id"], ids.combine_chunks()))
    columns = [name for name in ITEM_COLUMNS if name in catalogue.column_names]
    known = catalogue.take(pc.index_in(past["item_id"], catalogue["item_id"]))
    for name in columns:
        past = past.append_column(name, known[name])
    past = past.replace_schema_metadata({AS_OF: as_of.isoformat().encode()})
    pq.write_table(past, folder / STATISTICS, compression="zstd")


def load_statistics(folder: Path) -> tuple[pa.Table, pa.Table, datetime] | None:
    """ITEM_HOURS, the items they name, and the time they were complete at; None without any.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / STATISTICS
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        as_of = datetime.fromisoformat(table.schema.metadata[AS_OF].decode())
        item_hours = table.select(ITEM_HOURS.names).cast(ITEM_HOURS)
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} is damaged: {error}. Download the version again from the registry."
        ) from error
    distinct = table["item_id"].combine_chunks().unique()
    first = table.take(pc.index_in(distinct, table["item_id"]))
    return item_hours, first.drop_columns(ITEM_HOURS.names[:2] + ITEM_HOURS.names[3:]), as_of
