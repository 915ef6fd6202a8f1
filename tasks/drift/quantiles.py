"""Quantiles of a stream in bounded memory, the same for the same rows in every process.

A KLL sketch: values of weight 2ʰ at level h, and a full level passes every other of its sorted values up.
Apache DataSketches draws by a coin that cannot be seeded which half that is, so a day that is profiled again
after a kill would differ from itself. Here a level's halves take turns, as in Manku, Rajagopalan & Lindsay
(SIGMOD 1998): the errors of two compactions then cancel instead of adding up.

Source: Karnin, Lang & Liberty (FOCS 2016), Optimal quantile approximation in streams.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHRINK = 2 / 3
"""Size of a level against that of the one above."""
SMALLEST = 8
"""Values that every level holds before it is halved."""


@dataclass
class Quantiles:
    """The sketch; a level's values are in no order.

    Args:
        k: values of the top level; memory is about 3 k, and the error of a rank about 2.3 / k⁰·⁹.
    """

    k: int
    levels: list[Floats] = field(default_factory=lambda: [np.empty(0)])
    halvings: list[int] = field(default_factory=lambda: [0])
    """How often each level was halved: odd and even times pass on different halves."""

    @property
    def n(self) -> int:
        """Values seen."""
        return sum(len(values) << level for level, values in enumerate(self.levels))

    @property
    def exact(self) -> bool:
        """Whether every value is still there."""
        return len(self.levels) == 1

    @property
    def rank_error(self) -> float:
        """Bound of the error of a rank, as a share of n, at 99 %: DataSketches' fit for the same k."""
        return 0.0 if self.exact else 2.296 / self.k**0.9021

    def add(self, values: Floats) -> None:
        """Take note of values; all are finite."""
        self.levels[0] = np.concatenate([self.levels[0], values])
        self._compact()

    def merge(self, other: "Quantiles") -> None:
        """Take note of all that another sketch has seen."""
        for level, values in enumerate(other.levels):
            if level == len(self.levels):
                self._grow()
            self.levels[level] = np.concatenate([self.levels[level], values])
            self.halvings[level] += other.halvings[level]
        self._compact()

    def quantiles(self, ranks: Sequence[float]) -> Floats:
        """The values above shares `ranks` of all."""
        values, weights = self._weighted()
        up_to = np.cumsum(weights)
        at = np.searchsorted(up_to, np.asarray(ranks) * up_to[-1], side="right")
        return values[np.minimum(at, len(values) - 1)]

    def shares_below(self, edges: Sequence[float], *, inclusive: bool) -> Floats:
        """Share of all values below each edge, or up to it."""
        values, weights = self._weighted()
        up_to = np.concatenate([[0], np.cumsum(weights)])
        at = np.searchsorted(values, edges, side="right" if inclusive else "left")
        return up_to[at] / up_to[-1]

    def serialize(self) -> bytes:
        """As bytes, little-endian: k, the number of levels, then of each its size, halvings and values."""
        sizes = [number for pair in self._sizes() for number in pair]
        head = np.array([self.k, len(self.levels), *sizes], "<i8").tobytes()
        return head + np.concatenate(self.levels).astype("<f8").tobytes()

    @classmethod
    def deserialize(cls, raw: bytes) -> "Quantiles":
        """What `serialize` wrote.

        Raises:
            ValueError: the bytes are damaged.
        """
        k, num = np.frombuffer(raw, "<i8", 2).tolist()
        sizes = np.frombuffer(raw, "<i8", 2 * num, offset=16).reshape(num, 2)
        values = np.frombuffer(raw, "<f8", offset=16 * (1 + num)).astype(np.float64)
        if len(values) != sizes[:, 0].sum() or not num:
            raise ValueError(f"{len(values)} values in place of {sizes[:, 0].sum()}")
        levels = np.split(values, np.cumsum(sizes[:-1, 0]))
        return cls(k, levels, sizes[:, 1].tolist())

    def _sizes(self) -> list[tuple[int, int]]:
        return [(len(v), times) for v, times in zip(self.levels, self.halvings, strict=True)]

    def _weighted(self) -> tuple[Floats, npt.NDArray[np.int64]]:
        """The values in order, and how many each stands for."""
        values = np.concatenate(self.levels)
        sizes = [len(level) for level in self.levels]
        weights = np.repeat(np.int64(1) << np.arange(len(sizes)), sizes)
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    def _compact(self) -> None:
        """Halve, from the bottom, what holds more than it may."""
        level = 0
        while level < len(self.levels):
            if len(self.levels[level]) > self._room(level):
                self._halve(level)
            level += 1

    def _room(self, level: int) -> int:
        below_top = len(self.levels) - 1 - level
        return max(SMALLEST, math.ceil(self.k * SHRINK**below_top))

    def _halve(self, level: int) -> None:
        if level + 1 == len(self.levels):
            self._grow()
        values = np.sort(self.levels[level])
        even = len(values) // 2 * 2
        passed = values[self.halvings[level] % 2 : even : 2]
        self.levels[level] = values[even:]
        self.levels[level + 1] = np.concatenate([self.levels[level + 1], passed])
        self.halvings[level] += 1

    def _grow(self) -> None:
        self.levels.append(np.empty(0))
        self.halvings.append(0)
