"""What every ranker can do, whatever it is made of."""

from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.recommender.base import Base
from tasks.recommender.context import Context


class Ranker(Protocol):
    """Scores candidates shown to users."""

    @property
    def base(self) -> Base:
        """The pretrained model that it stands on."""

    @property
    def digest(self) -> str:
        """Names all that decides a score: equal digests score equally."""

    def probabilities(self, rows: pa.Table, context: Context) -> NDArray[np.float64]:
        """(N,) click probabilities in the order of `rows`."""
