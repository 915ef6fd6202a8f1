"""How well scores rank what readers would want, from clicks that also say where it stood.

Shapes: N rows, S slates.
"""

import numpy as np

from tasks.errors import EvaluationError
from tasks.evaluation.slates import (
    Column,
    Floats,
    Slates,
    check_scores,
    group_slates,
    sum_by,
    tie_runs,
)

CAP = 10.0
"""Most that a click may count against one at the first position."""


def debiased_impression_auc(
    scores: Column, clicked: Column, impression_ids: Column, examined: Column, *, cap: float = CAP
) -> float:
    """AUC within slates against relevance instead of clicks, by inverse propensity.

    With w = clicked · min(1/examined, cap) in place of a click and 1 − w in place of a skip,

        Σ wᵢ (1 − wⱼ) [scoreᵢ > scoreⱼ]  /  Σ wᵢ (1 − wⱼ)     over pairs i ≠ j of one slate

    has the numerator and the denominator that relevance itself would have, in expectation: clicked is
    examined · relevant, independently for each candidate. The quotient is self-normalised (SNIPS), so
    its variance is bounded, and it is consistent. Pairs weigh equally, not slates, because the mean
    of quotients would not be; slates without a click or without a skip count, for the same reason.

    Args:
        scores: (N,) higher means more relevant; any monotone scale.
        clicked: (N,) whether the candidate was clicked.
        impression_ids: (N,) the slate each candidate was shown in.
        examined: (N,) how much each candidate's position is looked at, relative to the first.
        cap: most that 1/examined may be; lower trades variance for bias.

    Returns:
        0.5 is a random order, 1 a perfect one; a tied pair counts one half. On few rows, or with
        examinations that are too low, it may leave [0, 1].

    Raises:
        EvaluationError: an examination is not above 0, or the weighted clicks leave no pairs.

    Source: Saito et al. (WSDM 2020), Saito (ICTIR 2020) for pairs; Swaminathan and Joachims (NeurIPS
        2015) for self-normalisation.
    """
    slates = group_slates(clicked, impression_ids)
    return float(debiased_auc_by_slate(scores, slates, examined, cap=cap).mean())


def debiased_auc_by_slate(
    scores: Column, slates: Slates, examined: Column, *, cap: float = CAP
) -> Floats:
    """(S,) what each slate adds to `debiased_impression_auc`, which is their mean.

    ½ + (pairs won − pairs / 2) · S / Σ pairs. The divisor is the same for all scores, so two models
    can be compared slate by slate, and the interval of the mean difference is that of any mean.

    Raises:
        EvaluationError: an examination is not above 0, or the weighted clicks leave no pairs.
    """
    values = check_scores(scores, len(slates.slate))
    click = click_weights(slates, examined, cap=cap)
    won, pairs = _weighted_pairs(values, slates, click, 1 - click)
    total = float(pairs.sum())
    if total <= 0:
        raise EvaluationError(
            f"AUC is undefined: {int(slates.clicked.sum()):,} clicks in {len(slates.ranks):,} slates "
            "leave no pairs of relevant and irrelevant candidates. Widen the holdout, or lower the cap."
        )
    return 0.5 + (won - pairs / 2) * len(pairs) / total


def click_weights(slates: Slates, examined: Column, *, cap: float = CAP) -> Floats:
    """(N,) clicked · min(1/examined, cap): what a row counts as a click; the rest of 1, as a skip.

    Raises:
        EvaluationError: an examination is not above 0.
    """
    inverse = np.minimum(1 / _check_examined(examined, len(slates.slate)), cap)
    return np.where(slates.clicked, inverse, 0.0)


def _weighted_pairs(
    scores: Floats, slates: Slates, click: Floats, skip: Floats
) -> tuple[Floats, Floats]:
    """(S,) Σ click·skip over each slate's pairs in the right order, and (S,) over all its pairs."""
    num = len(slates.rows)
    runs = tie_runs(scores, slates)
    start = np.cumsum(runs.length) - runs.length
    clicks = np.add.reduceat(click[runs.order], start)
    skips = np.add.reduceat(skip[runs.order], start)
    in_slate = sum_by(slates.slate, skip, num)[runs.slate]
    through = np.cumsum(skips)
    before_slate = (through - skips)[np.searchsorted(runs.slate, runs.slate)]
    below = in_slate - (through - before_slate)
    # no candidate is a pair with itself
    itself = sum_by(slates.slate, click * skip, num)
    won = sum_by(runs.slate, clicks * (below + skips / 2), num) - itself / 2
    return won, sum_by(runs.slate, clicks * in_slate, num) - itself


def _check_examined(examined: Column, num_rows: int) -> Floats:
    values = np.asarray(examined, dtype=np.float64)
    if values.shape != (num_rows,) or not (values > 0).all():
        raise EvaluationError(
            f"Examinations of shape {values.shape}, least {values.min(initial=np.inf):.4g}, do not fit "
            f"{num_rows:,} rows that each need one above 0. Estimate them on rows with positions."
        )
    return values
