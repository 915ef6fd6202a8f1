"""Click probabilities of logged rows."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.recommender.context import Context
from tasks.recommender.protocol import Ranker


def score(ranker: Ranker, rows: pa.Table, context: Context) -> NDArray[np.float64]:
    """Probability of a click on each candidate, by what was known before its hour.

    Args:
        ranker: such as `zero_shot(...)` or `load_ranker(...)`.
        rows: INTERACTIONS columns event_time, impression_id, user_id, item_id and, where logged,
            history. Whole impressions, in any order. Labels are not looked at.
        context: catalogue, hourly counts, past clicks.

    Returns:
        (N,) in the order of `rows`.

    Raises:
        ModelError: a column is missing, or a score is not finite.
    """
    if not len(rows):
        return np.empty(0)
    found = ranker.probabilities(rows, context)
    broken = int(np.count_nonzero(~np.isfinite(found)))
    if broken:
        raise ModelError(
            f"{broken:,} of {len(found):,} scores are not finite: the head or the adapter holds "
            "NaN or infinite values. Roll back to an earlier version and retrain."
        )
    return found
