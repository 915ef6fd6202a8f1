"""Rows as the token sequences that a network reads for them.

Shapes: N rows, S slates, I distinct texts, V sequences of a text.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.recommender.head import TYPICAL_SLATE
from tasks.recommender.slates import Slates
from tasks.recommender.statistics import Ints


@dataclass(frozen=True)
class Reading:
    """Rows grouped by slate, and the text of each; rows of equal text share one."""

    slates: Slates
    sequences: list[list[int]]
    """(I·V) token ids; the V sequences of a text follow each other."""
    slot: Ints
    """(I·V) place at which an answer is read; 0 where none is."""
    variants: int
    """V: 1, unless an answer is several tokens long."""
    text: Ints
    """(N,) number of each row's text, in the order of the slates."""
    match: NDArray[np.float32]
    """(N,) what is added to the network's logit: the zero-shot text match, or 0."""

    @cached_property
    def lengths(self) -> Ints:
        """(I,) tokens of each text's longest sequence."""
        lengths = np.array([len(ids) for ids in self.sequences], np.int64)
        return lengths.reshape(-1, self.variants).max(1, initial=0)

    @property
    def log_size(self) -> NDArray[np.float32]:
        """(N,) log of the slate's size over TYPICAL_SLATE."""
        sizes = self.slates.sizes[self.slates.slate]
        return np.log(sizes / TYPICAL_SLATE).astype(np.float32)

    def numbers(self, texts: Ints) -> Ints:
        """The numbers of the sequences of some texts."""
        return (texts[:, None] * self.variants + np.arange(self.variants)).ravel()
