"""Labels from the start's own answers, where it is sure of them.

Shapes: N rows.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.recommender.labels.impressions import number_impressions
from tasks.recommender.labels.policies import slate_shares
from tasks.recommender.statistics import Floats

WEIGHT = "weight"
"""Column of the confidence with which a row was labelled; missing or null is 1."""


def pseudo_label(
    rows: pa.Table, probabilities: Floats, confidence: float
) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Label the impressions that the start is sure of by what it says of them.

    Of a single candidate with probability p, the confidence is max(p, 1 − p) and the label p ≥ ½. Of
    a slate, the confidence is the largest share of the softmax over its log-odds, and the candidate
    that has it is the click (of equal ones, the one whose item id comes first).

    The cut means what it says only if the probabilities are calibrated: among answers of confidence
    0.9, nine of ten should be right. A ranker's are, after fine-tuning, on its validation's click
    rate; those of the zero-shot score are not.

    Args:
        rows: of whole impressions, with event_time, impression_id and item_id; labels, if there
            are any, are not looked at.
        probabilities: (N,) click probabilities by the start.
        confidence: least confidence, in (0, 1); 0 keeps nothing.

    Returns:
        The rows of the impressions that are sure enough, with `label` and `weight` (their
        confidence), and (N,) whether each of `rows` is among them.

    Source: Lee (2013).
    """
    impressions = number_impressions(rows)
    slate, single = impressions.slate, impressions.size == 1
    share = slate_shares(probabilities, impressions)
    sure = np.where(single[slate], np.maximum(probabilities, 1 - probabilities), share)
    order = np.lexsort((rows["item_id"].to_numpy(), -sure, slate))
    first = order[np.searchsorted(slate[order], np.arange(len(impressions)))]
    label = np.zeros(len(rows), np.int8)
    label[first] = np.where(single, probabilities[first] >= 0.5, True)
    weight = sure[first][slate]
    kept = (weight >= confidence) & (confidence > 0)
    labelled = rows.drop_columns([name for name in ("label", WEIGHT) if name in rows.column_names])
    labelled = labelled.append_column("label", pa.array(label))
    labelled = labelled.append_column(WEIGHT, pa.array(weight))
    return labelled.filter(pa.array(kept)), kept
