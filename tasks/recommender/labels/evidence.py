"""What a choice of shots may ask for, computed only if it does.

Shapes: N rows, S impressions, D width of a vector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.labels.impressions import Impressions
from tasks.recommender.slates import Slates
from tasks.recommender.statistics import Floats

Probabilities = Callable[[pa.Table], Floats]
"""(N,) click probabilities of some rows by the ranker that training starts from."""
Vectors = Callable[[pa.Table], NDArray[np.floating]]
"""(S, D) vectors of the rows' impressions, in the order of their first rows."""
Shift = Mapping[str, tuple[float, float]]
"""Category to its share before and its share now."""

_Some = TypeVar("_Some")


@dataclass(frozen=True)
class Evidence:
    """Beside the rows. Nothing here is called unless the policy needs it."""

    catalogue: pa.Table | None = None
    """ITEMS: item_id and category. For `balanced`, `drift` and `herding`."""
    probabilities: Probabilities | None = None
    """For `uncertain`, and for negatives of any hardness."""
    vectors: Vectors | None = None
    """For `k_center` and `herding`; `impression_vectors` makes them."""
    shift: Shift | None = None
    """For `drift`; `category_shift` reads it off two tables."""


def require(part: _Some | None, name: str, knob: str) -> _Some:
    """`part`, or a ModelError that names it and the knob that needs it."""
    if part is None:
        raise ModelError(
            f"`selection.{knob}` needs `{name}`, which was not given to the choice of shots. "
            f"Hand over Evidence({name}=…), or choose another policy."
        )
    return part


def probabilities_of(rows: pa.Table, evidence: Evidence, knob: str) -> Floats:
    """(N,) what the start makes of `rows`."""
    return require(evidence.probabilities, "probabilities", knob)(rows)


def vectors_of(
    rows: pa.Table, impressions: Impressions, evidence: Evidence, knob: str
) -> NDArray[np.floating]:
    """(S, D) vectors by the impressions' numbers."""
    return require(evidence.vectors, "vectors", knob)(rows)[impressions.appearance]


def impression_vectors(slates: Slates, vectors_ID: NDArray[np.float32]) -> NDArray[np.float64]:
    """(S, D) mean vector of each slate's clicked items; of all its candidates if none was clicked.

    Args:
        slates: as `group_rows` numbers them: by their first rows.
        vectors_ID: unit vectors of the items by number; zeros where there is no text.
    """
    num = len(slates.history)
    clicked = slates.label > 0
    has_click = np.bincount(slates.slate, clicked, minlength=num) > 0
    counts = clicked | ~has_click[slates.slate]
    total = np.zeros((num, vectors_ID.shape[1]))
    np.add.at(total, slates.slate[counts], vectors_ID[slates.candidate[counts]])
    return total / np.bincount(slates.slate[counts], minlength=num)[:, None]
