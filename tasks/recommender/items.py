"""What is known of the items that rows, histories and counts name: text, category, age, vector.

Shapes: I items, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.recommender.embeddings import TextEncoder, embed
from tasks.recommender.statistics import NEVER, Ints, hour_of

COPY_OF = "copy_of"
"""Column of a catalogue with altered copies: the item that a copy was made of; null for others."""


@dataclass(frozen=True)
class Items:
    """I items, by number."""

    texts: Sequence[str]
    """What the encoder reads of each; empty where there is nothing to read."""
    vectors: NDArray[np.float32]
    """(I, D) unit vectors; zeros for an item without text."""
    category: Ints
    """(I,) number of the category; −1 where unknown."""
    num_categories: int
    published_hour: Ints
    """(I,) hours since 1970; NEVER where unknown."""


def describe_items(
    ids: pa.Array, catalogue: pa.Table, encoder: TextEncoder, embeddings_folder: Path
) -> Items:
    """Look `ids` up in the catalogue, and embed their texts by way of the cache."""
    known = catalogue.take(pc.index_in(ids, catalogue["item_id"]))
    texts = item_texts(known)
    category = _column(known, "category", pa.string()).dictionary_encode()
    return Items(
        texts=texts,
        vectors=embed_texts(texts, encoder, embeddings_folder),
        category=category.indices.fill_null(-1).to_numpy().astype(np.int64),
        num_categories=len(category.dictionary),
        published_hour=_published_hours(known),
    )


def item_texts(items: pa.Table) -> list[str]:
    """What the encoder reads of each item: its title, or its text where it has no title."""
    title = pc.utf8_trim_whitespace(pc.fill_null(_column(items, "title", pa.string()), ""))
    text = pc.utf8_trim_whitespace(pc.fill_null(_column(items, "text", pa.string()), ""))
    return pc.if_else(pc.equal(title, ""), text, title).to_pylist()


def originals(ids: pa.Array, catalogue: pa.Table) -> pa.Array:
    """(I,) the item whose statistics each of `ids` has: itself, or what a copy was made of."""
    if COPY_OF not in catalogue.column_names:
        return ids
    known = catalogue.take(pc.index_in(ids, catalogue["item_id"]))
    return pc.coalesce(_column(known, COPY_OF, pa.string()), ids)


def embed_texts(texts: Sequence[str], encoder: TextEncoder, folder: Path) -> NDArray[np.float32]:
    """(I, D) vectors; an empty text has no direction, so its vector is zero."""
    readable = np.array([bool(text) for text in texts], np.bool_)
    vectors = embed(encoder, [text for text in texts if text], folder)
    spread = np.zeros((len(texts), vectors.shape[1]), np.float32)
    spread[readable] = vectors
    return spread


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(len(table), kind)
    return table[name].cast(kind).combine_chunks()


def _published_hours(known: pa.Table) -> Ints:
    published = _column(known, "published_at", pa.timestamp("us", tz="UTC"))
    hours = hour_of(published.fill_null(0))
    return np.where(published.is_valid().to_numpy(zero_copy_only=False), hours, NEVER)
