"""From rows and context to the features of the head; each distinct item is embedded once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from tasks.recommender.behaviour import behaviour_features
from tasks.recommender.context import Context
from tasks.recommender.embeddings import TextEncoder
from tasks.recommender.head import TYPICAL_SLATE, Features
from tasks.recommender.items import Items, describe_items, originals
from tasks.recommender.match import fixed_features, match
from tasks.recommender.slates import Slates, group_rows
from tasks.recommender.statistics import counts_of


@dataclass(frozen=True)
class Prepared:
    """Rows, grouped by slate, with everything that the head reads of them."""

    slates: Slates
    items: Items
    features: Features

    @property
    def known(self) -> NDArray[np.bool_]:
        """(I,) whether the item has a text."""
        return known_items(self.items)

    def split(self, rows: int) -> tuple["Prepared", "Prepared"]:
        """What was made of the table's first `rows` rows, and of the others; no slate is in both.

        Views: nothing is computed or copied again.
        """
        slates = int(self.slates.slate[rows - 1]) + 1 if rows else 0
        first, last = self.slates.split(slates, rows)
        return (
            Prepared(first, self.items, self.features.rows(slice(rows))),
            Prepared(last, self.items, self.features.rows(slice(rows, None))),
        )


def prepare(rows: pa.Table, context: Context, encoder: TextEncoder, device: str) -> Prepared:
    """Group `rows`, look up and embed their items, and read statistics as of each row's hour."""
    slates = group_rows(rows, context.clicks)
    shown = context.item_hours["item_id"].combine_chunks().unique()
    counted = originals(slates.items, context.catalogue)
    ids = pa.concat_arrays([slates.items, counted, shown]).unique()
    items = describe_items(ids, context.catalogue, encoder, context.embeddings_folder)
    logged = slates.renumbered(pc.index_in(counted, ids).to_numpy().astype(np.int64))
    vectors = torch.from_numpy(items.vectors).to(device)
    behaviour = behaviour_features(logged, items, counts_of(context.item_hours, ids), vectors)
    return Prepared(slates, items, assemble(vectors, slates, known_items(items), behaviour))


def assemble(
    vectors_ID: torch.Tensor,
    slates: Slates,
    known: NDArray[np.bool_],
    behaviour: NDArray[np.float32],
) -> Features:
    """The head's features from item vectors (with gradient, if they have one) and behaviour."""
    matches = match(vectors_ID, slates, known)
    log_size = np.log(slates.sizes[slates.slate] / TYPICAL_SLATE).astype(np.float32)
    return Features(
        matches,
        fixed_features(matches),
        torch.from_numpy(behaviour).to(vectors_ID.device),
        torch.from_numpy(log_size).to(vectors_ID.device),
        vectors_ID,
        torch.from_numpy(slates.candidate).to(vectors_ID.device),
    )


def known_items(items: Items) -> NDArray[np.bool_]:
    """(I,) whether the item has a text."""
    return np.fromiter((bool(text) for text in items.texts), np.bool_, len(items.texts))
