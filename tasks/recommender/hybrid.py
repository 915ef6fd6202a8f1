"""The default ranker: text match by the encoder, behaviour statistics, and a small head."""

from hashlib import sha256

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from tasks.recommender.base import Base, load_base
from tasks.recommender.context import Context
from tasks.recommender.encoder import Encoder, tensors_digest
from tasks.recommender.head import HybridHead
from tasks.recommender.prepare import Prepared, prepare
from tasks.recommender.slates import require_columns, whole_slates

ROWS_AT_ONCE = 250_000
"""Rows scored at a time: bounds memory at about 200 MB for histories of 50."""


class HybridRanker:
    """An encoder (base, perhaps with an adapter) and a head. Without training: zero-shot."""

    def __init__(self, encoder: Encoder, head: HybridHead) -> None:
        self.encoder = encoder
        self.head = head.to(encoder.base.device).eval()

    @property
    def base(self) -> Base:
        """The pretrained encoder."""
        return self.encoder.base

    @property
    def device(self) -> str:
        """Where the features and the head are."""
        return self.encoder.base.device

    @property
    def digest(self) -> str:
        """Names base, adapter, precision and head."""
        head = tensors_digest(self.head.state_dict())
        return sha256(f"{self.encoder.digest} {head}".encode()).hexdigest()

    def prepare(self, rows: pa.Table, context: Context) -> Prepared:
        """Features of `rows`, by this ranker's encoder."""
        return prepare(rows, context, self.encoder, self.device)

    def probabilities(self, rows: pa.Table, context: Context) -> NDArray[np.float64]:
        """(N,) click probabilities in the order of `rows`."""
        require_columns(rows)
        found = np.empty(len(rows))
        for part in whole_slates(rows["impression_id"], ROWS_AT_ONCE):
            found[part] = self.predict(self.prepare(rows.take(pa.array(part)), context))
        return found

    @torch.inference_mode()
    def predict(self, prepared: Prepared) -> NDArray[np.float64]:
        """(N,) click probabilities in the order of the rows that were prepared."""
        found = np.empty(len(prepared.slates.order))
        self.head.eval()
        logits = self.head(prepared.features)
        found[prepared.slates.order] = logits.double().sigmoid().cpu().numpy()
        return found


def zero_shot(base: str, *, device: str = "auto", precision: str = "auto") -> HybridRanker:
    """The ranker that has seen no shots: it ranks by text match alone.

    Raises:
        ModelError: the base is missing or altered.
    """
    return HybridRanker(
        Encoder(load_base(base, device=device, precision=precision)), new_head(seed=0)
    )


def new_head(*, seed: int, dropout: float = 0.0) -> HybridHead:
    """An untrained head, whose residual is 0; the seed draws its waves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HybridHead(dropout=dropout)
