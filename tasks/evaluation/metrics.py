"""How well scores rank each slate, and how well they say the click probability.

All ranking metrics look at the same slates, those with both a click and a skip, and weigh them
equally. Tied scores count at their mean over all orders of the tie: the order of the rows in a
file, which often puts clicks first, tells nothing.
"""

from dataclasses import asdict, dataclass

import numpy as np

from tasks.errors import EvaluationError
from tasks.evaluation.slates import (
    Bools,
    Column,
    Floats,
    Ints,
    Slates,
    TieRuns,
    check_clicked,
    check_scores,
    group_slates,
    pool,
    sum_by,
    tie_runs,
)

CLIP = 1e-7
"""Probabilities are kept so far from 0 and 1 before their logarithm is taken."""
NUM_BINS = 10
"""Bins of the calibration curve and of the calibration error."""


@dataclass(frozen=True)
class Metrics:
    """What one model's scores were worth on one set of impressions."""

    impression_auc: float
    """Mean AUC within each slate: the gate's metric."""
    pooled_auc: float
    """AUC over all rows at once; also rewards telling clickers' slates from others."""
    mrr: float
    """Mean reciprocal rank of the clicked candidates."""
    ndcg_5: float
    """Normalised discounted cumulative gain of the first 5."""
    ndcg_10: float
    """Normalised discounted cumulative gain of the first 10."""
    log_loss: float
    """Mean negative log-likelihood, nats a row."""
    calibration_error: float
    """Mean distance between predicted and observed click rate, over bins of equal mass."""
    impressions: int
    """Slates with both a click and a skip: those that the ranking metrics average."""
    rows: int
    """Candidate rows in all slates: those behind pooled AUC, log loss and calibration."""

    def to_json(self) -> dict[str, float | int]:
        """The fields by name, as the day's record keeps them."""
        return asdict(self)


def measure(scores: Column, clicked: Column, impression_ids: Column) -> Metrics:
    """All metrics of (N,) click probabilities; ids are grouped and scores sorted once.

    Raises:
        EvaluationError: no slate ranks, or a score is not a probability.
    """
    return measure_slates(scores, group_slates(clicked, impression_ids))


def measure_slates(scores: Column, slates: Slates) -> Metrics:
    """`measure` over slates that were grouped before, so that two models share the work."""
    slates.require_ranking()
    values = check_probabilities(scores, len(slates.slate))
    runs = tie_runs(values, slates)
    everything = pool(slates.clicked)
    pooled_runs = tie_runs(values, everything)
    return Metrics(
        impression_auc=_mean(slate_aucs(runs, slates), slates),
        pooled_auc=float(slate_aucs(pooled_runs, everything)[0]),
        mrr=_mean(_reciprocal_ranks(runs, slates), slates),
        ndcg_5=_mean(_ndcg(runs, slates, 5), slates),
        ndcg_10=_mean(_ndcg(runs, slates, 10), slates),
        log_loss=_log_loss(values, slates.clicked),
        calibration_error=_calibration_error(*_bins(values, slates.clicked, pooled_runs)),
        impressions=int(np.count_nonzero(slates.ranks)),
        rows=len(values),
    )


def impression_auc(scores: Column, clicked: Column, impression_ids: Column) -> float:
    """Mean ROC AUC within each impression's slate.

    Slates weigh equally, so a long slate does not outvote a short one. A slate
    where everything or nothing was clicked ranks nothing and is left out.

    Args:
        scores: (N,) higher means more likely clicked; any monotone scale.
        clicked: (N,) whether the candidate was clicked.
        impression_ids: (N,) the slate each candidate was shown in.

    Returns:
        AUC in [0, 1]; 0.5 is a random order, and a tied pair counts one half.

    Raises:
        EvaluationError: no slate holds both a click and a skip.

    Source: Wu et al. (ACL 2020), MIND; AUC as a rank sum: Hanley & McNeil (1982).
    """
    slates = group_slates(clicked, impression_ids)
    return _mean(auc_by_slate(scores, slates), slates)


def auc_by_slate(scores: Column, slates: Slates) -> Floats:
    """(S,) AUC of each slate in the order of `slates.ids`; NaN where nothing ranks."""
    return slate_aucs(tie_runs(check_scores(scores, len(slates.slate)), slates), slates)


def pooled_auc(scores: Column, clicked: Column) -> float:
    """ROC AUC over all rows at once; a tied pair counts one half.

    Raises:
        EvaluationError: everything or nothing was clicked.
    """
    slates = pool(clicked)
    return _mean(auc_by_slate(scores, slates), slates)


def mrr(scores: Column, clicked: Column, impression_ids: Column) -> float:
    """MIND's mean reciprocal rank: the mean of 1/rank over a slate's clicks, then over slates.

    Textbook MRR takes the first click alone; MIND's evaluation script takes the mean of all.

    Raises:
        EvaluationError: no slate holds both a click and a skip.
    """
    slates = group_slates(clicked, impression_ids)
    runs = tie_runs(check_scores(scores, len(slates.slate)), slates)
    return _mean(_reciprocal_ranks(runs, slates), slates)


def ndcg_at(k: int, scores: Column, clicked: Column, impression_ids: Column) -> float:
    """Mean over slates of Σ clicked/log2(1 + rank) up to rank `k`, over its best possible value.

    Raises:
        EvaluationError: no slate holds both a click and a skip.

    Source: Järvelin & Kekäläinen (2002), with binary gains.
    """
    slates = group_slates(clicked, impression_ids)
    runs = tie_runs(check_scores(scores, len(slates.slate)), slates)
    return _mean(_ndcg(runs, slates, k), slates)


def log_loss(scores: Column, clicked: Column) -> float:
    """Mean negative log-likelihood in nats of (N,) click probabilities, kept 1e-7 from 0 and 1.

    Raises:
        EvaluationError: a score is not a probability.
    """
    flags = check_clicked(clicked)
    return _log_loss(check_probabilities(scores, len(flags)), flags)


def calibration_bins(scores: Column, clicked: Column) -> tuple[Floats, Floats, Floats]:
    """Predicted against observed click rate in ten bins of equal mass.

    Equal mass, because clicks are rare: bins of equal width would put nearly every row into the
    first. Rows of one score stay in one bin, so a bin can be larger, and an empty one is left out.

    Returns:
        (B,) mean predicted probability, (B,) observed click rate, (B,) rows; B ≤ 10, low to high.

    Raises:
        EvaluationError: a score is not a probability.
    """
    flags = check_clicked(clicked)
    values = check_probabilities(scores, len(flags))
    return _bins(values, flags, tie_runs(values, pool(flags)))


def expected_calibration_error(scores: Column, clicked: Column) -> float:
    """Σ rows/N · |predicted − observed click rate| over the bins of `calibration_bins`.

    Raises:
        EvaluationError: a score is not a probability.

    Source: Naeini et al. (AAAI 2015); equal mass: Nixon et al. (CVPRW 2019).
    """
    return _calibration_error(*calibration_bins(scores, clicked))


def check_probabilities(scores: Column, num_rows: int) -> Floats:
    """The scores as floats; raises EvaluationError unless all are there and within [0, 1]."""
    values = check_scores(scores, num_rows)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise EvaluationError(
            f"Scores run from {low:.4g} to {high:.4g}, and log loss needs probabilities in [0, 1]. "
            "Apply the model's sigmoid first."
        )
    return values


def _mean(by_slate: Floats, slates: Slates) -> float:
    slates.require_ranking()
    return float(by_slate[slates.ranks].mean())


def slate_aucs(runs: TieRuns, slates: Slates) -> Floats:
    """(S,) share of (click, skip) pairs in the right order; NaN where there are none."""
    skips = slates.rows - slates.clicks
    skips_in_run = runs.length - runs.clicks
    skips_below = skips[runs.slate] - (runs.above - runs.clicks_above) - skips_in_run
    # The half gives a tied pair its half point.
    pairs = sum_by(runs.slate, runs.clicks * (skips_below + skips_in_run / 2), len(skips))
    return _divide(pairs, slates.clicks * skips)


def _reciprocal_ranks(runs: TieRuns, slates: Slates) -> Floats:
    weights = 1 / np.arange(1, slates.rows.max() + 1)
    return _divide(_gains(runs, slates, weights), slates.clicks)


def _ndcg(runs: TieRuns, slates: Slates, k: int) -> Floats:
    weights = 1 / np.log2(np.arange(2, slates.rows.max() + 2))
    weights[k:] = 0
    best = np.concatenate([[0], np.cumsum(weights)])[slates.clicks]
    return _divide(_gains(runs, slates, weights), best)


def _gains(runs: TieRuns, slates: Slates, weights: Floats) -> Floats:
    """(S,) Σ of each click's weight by rank; a tie gets the mean weight of the ranks it spans."""
    total = np.concatenate([[0], np.cumsum(weights)])
    spanned = (total[runs.above + runs.length] - total[runs.above]) / runs.length
    return sum_by(runs.slate, runs.clicks * spanned, len(slates.rows))


def _divide(values: Floats, by: Floats | Ints) -> Floats:
    """`values / by`, NaN where `by` is 0."""
    return np.divide(values, by, out=np.full(len(values), np.nan), where=by > 0)


def _log_loss(scores: Floats, clicked: Bools) -> float:
    return float(losses(scores, clicked).mean())


def losses(probabilities: Floats, clicked: Bools) -> Floats:
    """(N,) negative log-likelihood of each row in nats, of probabilities kept 1e-7 from 0 and 1."""
    said = np.where(clicked, probabilities, 1 - probabilities)
    return -np.log(np.clip(said, CLIP, 1 - CLIP))


def _bins(scores: Floats, clicked: Bools, runs: TieRuns) -> tuple[Floats, Floats, Floats]:
    ascending_rank = len(scores) - runs.above - runs.length / 2
    bin_of_run = (ascending_rank * NUM_BINS / len(scores)).astype(np.int64)
    row_score = np.add.reduceat(scores[runs.order], runs.above)
    rows = sum_by(bin_of_run, runs.length, NUM_BINS)
    clicks = sum_by(bin_of_run, runs.clicks, NUM_BINS)
    predicted = sum_by(bin_of_run, row_score, NUM_BINS)
    filled = rows > 0
    return predicted[filled] / rows[filled], clicks[filled] / rows[filled], rows[filled]


def _calibration_error(predicted: Floats, observed: Floats, rows: Floats) -> float:
    return float(np.abs(predicted - observed) @ rows / rows.sum())
