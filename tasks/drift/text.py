"""What the texts shown were about, as sums over embeddings that add up from day to day.

Every candidate counts, but texts are drawn by the item: an item that is shown a thousand times
is one draw, not a thousand. Two means of the same world, with items of shares q and p, are apart by
Σ (qᵢ − pᵢ) vᵢ, whose mean square is σ² Σ (qᵢ − pᵢ)² if what an item is about is chance. A count
sketch of the shares, which adds up too, tells that sum (`apart`).

Shapes: I items, D embedding width, P projected width, F random features, S sampled items, C cells.

Sources: Achlioptas (2003), projections by signs; Rahimi & Recht (NIPS 2007), random Fourier
features; Gretton et al. (JMLR 2012), maximum mean discrepancy; Charikar, Chen & Farach-Colton (2002),
count sketch; Efraimidis & Spirakis (2006), weighted sampling by keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.drift.measures import sums

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]

WIDTH = 64
"""P: inner products of unit vectors are kept to about ±1/8."""

FEATURES = 512
"""F: half cosines, half sines; a discrepancy is found to about ±0.04 of the kernel's scale."""

BANDWIDTH = 0.85
"""σ of the kernel exp(-‖x - y‖² / 2σ²): between the distance of like and of unlike headlines."""

SAMPLE = 512
"""S: 74 KB."""

CELLS = 2048
"""C: a power of two; a sum of squares is found to about √(2 / C) = 3 % of itself."""

_CHUNK = 2048


@dataclass(frozen=True)
class ItemEmbeddings:
    """Embeddings to profile with: `vectors[i]` (D,) is that of `ids[i]`."""

    ids: pa.Array
    vectors: Singles
    encoder: str


@dataclass(frozen=True)
class Sample:
    """Items with the S smallest keys, heavier ones sooner: mergeable, and the same every time."""

    keys: Floats
    """(S,) ascending; -ln(u) / weight with u by the item's hash."""
    hashes: Hashes
    """(S,) of the item's id."""
    vectors: npt.NDArray[np.float16]
    """(S, P) projected."""


@dataclass(frozen=True)
class Text:
    """Sums over the candidates shown, each as often as it was shown."""

    encoder: str
    """What made the embeddings; only equal encoders are compared."""
    rows: float
    """Σ w: candidates with an embedding."""
    total: Floats
    """(D,) Σ w v."""
    squares: float
    """Σ w ‖v‖²."""
    projected: Floats
    """(P,) Σ w x of the projections x."""
    outer: Floats
    """(P, P) Σ w x xᵀ."""
    features: Floats
    """(F,) Σ w φ(x)."""
    shown: Floats
    """(C,) Σ ±w of the items whose hash falls into the cell."""
    sample: Sample

    @property
    def variance(self) -> float:
        """E‖v - mean‖² of a single candidate."""
        mean = self.total / self.rows
        return max(self.squares / self.rows - float(mean @ mean), 0.0)

    @property
    def covariance(self) -> Floats:
        """(P, P) of the projections."""
        mean = self.projected / self.rows
        return self.outer / self.rows - np.outer(mean, mean)


def describe(items: Sequence[str], item_rows: npt.NDArray[np.int64], known: ItemEmbeddings) -> Text:
    """The text of one day; items without an embedding are left out.

    Args:
        items: (I,) distinct ids.
        item_rows: (I,) candidates of each.
        known: embeddings of at least some of them.
    """
    from threadpoolctl import threadpool_limits

    at = pc.index_in(pa.array(items, pa.string()), value_set=known.ids)
    there = at.is_valid().to_numpy(zero_copy_only=False)
    places = at.drop_null().to_numpy()
    weights = item_rows[there].astype(np.float64)
    hashes = _hashes([item for item, inside in zip(items, there.tolist(), strict=True) if inside])
    projected = np.empty((len(places), WIDTH), np.float32)
    sums_of = _Sums(known.vectors.shape[1])
    # products this small lose more by waiting for another core than they gain by it
    with threadpool_limits(1, "blas"):
        for first in range(0, len(places), _CHUNK):  # features are wide: never those of all items
            part = slice(first, first + _CHUNK)
            projected[part] = sums_of.add(known.vectors[places[part]], weights[part])
    return Text(
        known.encoder,
        float(weights.sum()),
        **vars(sums_of),
        shown=_count_sketch(hashes, weights),
        sample=_sample(hashes, weights, projected),
    )


class _Sums:
    """The sums of `Text` over embeddings, as they come."""

    def __init__(self, width: int) -> None:
        self.total, self.squares = np.zeros(width), 0.0
        self.projected, self.outer = np.zeros(WIDTH), np.zeros((WIDTH, WIDTH))
        self.features = np.zeros(FEATURES)

    def add(self, vectors: Singles, weights: Floats) -> Singles:
        """Add (I, D) embeddings; returns their (I, P) projections."""
        x = vectors @ projection(vectors.shape[1])
        w = weights.astype(np.float32)
        self.total += w @ vectors
        self.squares += float(w @ np.einsum("id,id->i", vectors, vectors))
        self.projected += w @ x
        self.outer += (x * w[:, None]).T @ x
        self.features += w @ random_features(x)
        return x


def combine(parts: Sequence[Text | None]) -> Text | None:
    """Sums over days; None as soon as the encoders differ, or a day has none: no common mean."""
    known = [part for part in parts if part is not None and part.rows]
    if len(known) < len(parts) or len({(part.encoder, part.total.shape) for part in known}) != 1:
        return None
    return Text(
        known[0].encoder,
        sum(part.rows for part in known),
        np.sum([part.total for part in known], axis=0),
        sum(part.squares for part in known),
        np.sum([part.projected for part in known], axis=0),
        np.sum([part.outer for part in known], axis=0),
        np.sum([part.features for part in known], axis=0),
        np.sum([part.shown for part in known], axis=0),
        _smallest([part.sample for part in known]),
    )


@lru_cache(maxsize=4)
def projection(width: int) -> Singles:
    """(D, P) random signs / √P; the identity where D is at most P.

    E‖xR‖² = ‖x‖². The generator is one whose stream numpy has frozen for good.
    """
    if width <= WIDTH:
        return np.eye(width, WIDTH, dtype=np.float32)
    draw = np.random.RandomState(width)
    signs = 2.0 * draw.randint(0, 2, (width, WIDTH)) - 1.0
    return (signs / np.sqrt(WIDTH)).astype(np.float32)


@lru_cache(maxsize=1)
def _frequencies() -> Singles:
    """(P, F/2) normal with standard deviation 1/σ."""
    draw = np.random.RandomState(FEATURES)
    return (draw.standard_normal((WIDTH, FEATURES // 2)) / BANDWIDTH).astype(np.float32)


def random_features(projected: Singles) -> Singles:
    """(I, F) φ with φ(x)·φ(y) ≈ exp(-‖x - y‖² / 2σ²), and φ(x)·φ(x) = 1."""
    phase = projected @ _frequencies()
    both = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    return both * np.float32(np.sqrt(2 / FEATURES))


def apart(reference: Text, current: Text) -> float:
    """Σ (qᵢ − pᵢ)² over all items, of their shares in the candidates of either side."""
    gap = current.shown / current.rows - reference.shown / reference.rows
    return float(gap @ gap)


def _hashes(ids: Sequence[str]) -> Hashes:
    from pandas.util import hash_array

    return hash_array(np.asarray(ids, dtype=object), categorize=False)


def _count_sketch(hashes: Hashes, weights: Floats) -> Floats:
    """Each item in the cell of its hash's low bits, signed by its top bit."""
    cells = (hashes & np.uint64(CELLS - 1)).astype(np.int64)
    signs = np.where(hashes >> np.uint64(63), 1.0, -1.0)
    return sums(cells, signs * weights, CELLS)


def _sample(hashes: Hashes, weights: Floats, projected: Singles) -> Sample:
    # (hash + 1/2) / 2⁶⁴ is uniform in (0, 1)
    keys = -np.log((hashes.astype(np.float64) + 0.5) / 2.0**64) / weights
    first = np.argsort(keys, kind="stable")[:SAMPLE]
    return Sample(keys[first], hashes[first], projected[first].astype(np.float16))


def _smallest(samples: Sequence[Sample]) -> Sample:
    """The S smallest keys of all; an item of several days is there once, with its smallest."""
    keys = np.concatenate([sample.keys for sample in samples])
    hashes = np.concatenate([sample.hashes for sample in samples])
    vectors = np.concatenate([sample.vectors for sample in samples])
    order = np.lexsort([hashes, keys])
    _, first = np.unique(hashes[order], return_index=True)
    chosen = order[np.sort(first)][:SAMPLE]
    return Sample(keys[chosen], hashes[chosen], vectors[chosen])
