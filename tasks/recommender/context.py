"""What a ranker may know beside the rows it scores."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa


@dataclass(frozen=True)
class Context:
    """Catalogue, behaviour and past clicks; of all of it only completed hours are used.

    It may hold more than a row may see: each row reads what was complete before its own hour.
    """

    catalogue: pa.Table
    """ITEMS: item_id, title and, where known, text, category, published_at."""
    item_hours: pa.Table
    """ITEM_HOURS: how often each item was shown and clicked, by hour."""
    clicks: pa.Table | None
    """user_id, item_id, event_time, label: histories come from these where rows log none."""
    embeddings_folder: Path
    """Where item embeddings are cached, by content, across days."""
