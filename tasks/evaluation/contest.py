"""Champion against challenger on the same impressions, with an interval that knows about users.

Shapes: N rows, S ranking slates, U users, R resamples.
"""

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import EvaluationError
from tasks.evaluation.bar import Bar
from tasks.evaluation.debiased import debiased_auc_by_slate
from tasks.evaluation.metrics import Metrics, auc_by_slate, measure_slates
from tasks.evaluation.slates import Column, Floats, Ints, Slates, factorise, group_slates, sum_by

MAX_WEIGHTS = 4_000_000
"""Resampling weights held in memory at once: 32 MB."""


@dataclass(frozen=True)
class Contest:
    """Two models judged on the same impressions; AUC is the mean within impressions."""

    champion_auc: float
    challenger_auc: float
    gain: float
    """challenger_auc − champion_auc."""
    low: float
    """Lower end of the gain's two-sided interval."""
    high: float
    """Upper end of the gain's two-sided interval."""
    confidence: float
    """Share of such intervals that hold the true gain."""
    standard_error: float
    """Of the gain, from the users' influence."""
    impressions: int
    """Slates with both a click and a skip."""
    users: int
    """Distinct users of the judged slates: the independent pieces of evidence."""
    champion: Metrics | None
    """All metrics of one day's rows; None where the evidence came without them."""
    challenger: Metrics | None
    debiased: bool = False
    """Whether both AUCs, and so the gain, are against relevance; `champion` and `challenger` never are."""
    looks: int = 1
    """Days of evidence: each was one look at this challenger."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as the day's record keeps them."""
        return asdict(self)


def hold_contest(
    champion_scores: Column,
    challenger_scores: Column,
    clicked: Column,
    impression_ids: Column,
    user_ids: Column,
    *,
    confidence: float,
    resamples: int = 2000,
    seed: int,
    examined: Column | None = None,
) -> Contest:
    """Judge two models on N rows and bound the challenger's gain in impression AUC.

    Both are scored on every slate, so what makes a slate easy cancels (paired). One user's slates
    resemble each other, so users are resampled with all of theirs (clustered). The interval is a
    studentised bootstrap, whose coverage stays nearest to its promise when few users carry the
    gain: with 80 users, 95 % intervals held a skewed gain 92 % of the time, where BCa held 88 % and
    percentiles 85 %. It does not depend on the order of the rows.

    Args:
        champion_scores: (N,) click probabilities of the incumbent.
        challenger_scores: (N,) click probabilities of the candidate for its place.
        clicked: (N,) whether the candidate item was clicked.
        impression_ids: (N,) the slate each row was shown in.
        user_ids: (N,) the user each slate was shown to.
        confidence: of the two-sided interval, in (0, 1).
        resamples: bootstrap draws; time is proportional to resamples × users.
        seed: the same seed and rows give the same interval.
        examined: (N,) how much each row's position is looked at. With it the gain is that in
            `debiased_impression_auc`, to which slates without a click or a skip belong; the divisor is
            taken as known.

    Raises:
        EvaluationError: no slate ranks, a score is not a probability, a slate belongs to two users,
            or all slates belong to one.

    Source: Efron & Tibshirani (1993), ch. 12; Field & Welsh (2007) for resampling clusters.
    """
    if not 0 < confidence < 1:
        raise EvaluationError(f"A confidence of {confidence:g} is not between 0 and 1.")
    slates = group_slates(clicked, impression_ids)
    champion = measure_slates(champion_scores, slates)
    challenger = measure_slates(challenger_scores, slates)
    old, new = (
        _judged(scores, slates, examined) for scores in (champion_scores, challenger_scores)
    )
    judged = slates.ranks if examined is None else np.ones_like(slates.ranks)
    users = user_by_slate(slates, user_ids)[judged]
    gain_by_user, slates_by_user = sums_by_user((new - old)[judged], users)
    standard_error = clustered_error(gain_by_user, slates_by_user)
    low, high = studentised_interval(
        gain_by_user, slates_by_user, confidence=confidence, resamples=resamples, seed=seed
    )
    return Contest(
        champion_auc=float(old[judged].mean()),
        challenger_auc=float(new[judged].mean()),
        gain=float(new[judged].mean() - old[judged].mean()),
        low=low,
        high=high,
        confidence=confidence,
        standard_error=standard_error,
        impressions=champion.impressions,
        users=len(slates_by_user),
        champion=champion,
        challenger=challenger,
        debiased=examined is not None,
    )


def contest_of(
    evidence: pa.Table,
    bar: Bar,
    *,
    metrics: tuple[Metrics, Metrics] | None = None,
    debiased: bool = False,
) -> Contest:
    """The contest over all days of `evidence`, with the interval that `decide` needs.

    Args:
        evidence: one row an impression: day, user_id, champion_auc and challenger_auc (null where
            the slate does not rank); other columns are not read.
        bar: its level and looks say how far the interval reaches.
        metrics: champion's and challenger's on the newest day's rows, to be shown beside the gain.
        debiased: whether the two AUCs are against relevance.

    Raises:
        EvaluationError: no slate ranks, or all are one user's.
    """
    import pyarrow.compute as pc

    judged = evidence.filter(pc.is_valid(evidence["challenger_auc"]))
    old, new = (judged[f"{side}_auc"].to_numpy() for side in ("champion", "challenger"))
    users, _ = factorise(judged["user_id"], "user_id")
    gain_by_user, slates_by_user = sums_by_user(new - old, users)
    error = clustered_error(gain_by_user, slates_by_user)
    gain = float((new - old).mean())
    reach = NormalDist().inv_cdf(1 - bar.level / bar.looks) * error
    champion, challenger = metrics or (None, None)
    return Contest(
        champion_auc=float(old.mean()),
        challenger_auc=float(new.mean()),
        gain=gain,
        low=gain - reach,
        high=gain + reach,
        confidence=1 - 2 * bar.level,
        standard_error=error,
        impressions=len(old),
        users=len(slates_by_user),
        champion=champion,
        challenger=challenger,
        debiased=debiased,
        looks=pc.count_distinct(evidence["day"]).as_py(),
    )


def _judged(scores: Column, slates: Slates, examined: Column | None) -> Floats:
    """(S,) what each slate adds to the AUC that is contested."""
    if examined is None:
        return auc_by_slate(scores, slates)
    return debiased_auc_by_slate(scores, slates, examined)


def clustered_error(gain_by_user: Floats, slates_by_user: Floats) -> float:
    """Standard error of Σ gain / Σ slates by the users' influence (the cluster sandwich).

    With g the ratio and e_u = gain_u − g · slates_u: √(U/(U−1) · Σ e_u²) / Σ slates_u.

    Source: Liang & Zeger (1986), Biometrika 73.
    """
    num_users = len(slates_by_user)
    residual = gain_by_user - gain_by_user.sum() / slates_by_user.sum() * slates_by_user
    return float(
        np.sqrt(num_users / (num_users - 1) * (residual @ residual)) / slates_by_user.sum()
    )


def studentised_interval(
    gain_by_user: Floats,
    slates_by_user: Floats,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Bootstrap-t interval of Σ gain / Σ slates, users drawn with replacement.

    Each draw's error is divided by that draw's own standard error, and their quantiles scale the
    standard error of the whole. A gain of AUC lies in [−1, 1], and so does the interval: where one
    user alone makes the difference, it is nearly all of that.
    """
    gain = gain_by_user.sum() / slates_by_user.sum()
    error = clustered_error(gain_by_user, slates_by_user)
    if error == 0:
        return float(gain), float(gain)
    residual = gain_by_user - gain * slates_by_user
    terms_U5 = np.stack(
        [residual, slates_by_user, residual**2, residual * slates_by_user, slates_by_user**2], 1
    )
    r, m, rr, rm, mm = _resampled_sums(terms_U5, resamples, seed).T
    shift = r / m
    variance = np.maximum(rr - 2 * shift * rm + shift**2 * mm, 0)
    num_users = len(slates_by_user)
    draw_error = np.sqrt(num_users / (num_users - 1) * variance) / m
    # A draw without any of the users who differ has no error of its own; it stays finite.
    t = shift / np.maximum(draw_error, 1e-6 * error)
    tail = (1 - confidence) / 2
    t_low, t_high = np.quantile(t, [tail, 1 - tail])
    low, high = np.clip([gain - t_high * error, gain - t_low * error], -1, 1)
    return float(low), float(high)


def _resampled_sums(terms_UC: Floats, resamples: int, seed: int) -> Floats:
    """(R, C) column sums of `terms_UC` over users drawn with replacement, in bounded memory."""
    rng = np.random.default_rng(seed)
    num_users = len(terms_UC)
    chunk = max(1, MAX_WEIGHTS // num_users)
    sums = np.empty((resamples, terms_UC.shape[1]))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.integers(0, num_users, size=(size, num_users), dtype=np.int32)
        cell = drawn + np.arange(size)[:, None] * num_users
        weights = np.bincount(cell.ravel(), minlength=size * num_users).reshape(size, num_users)
        sums[start : start + size] = weights.astype(np.float64) @ terms_UC
    return sums


def user_by_slate(slates: Slates, user_ids: Column) -> Ints:
    """(S,) number of the user each slate was shown to."""
    user, names = factorise(user_ids, "user_id")
    by_slate = np.empty(len(slates.rows), np.int64)
    by_slate[slates.slate] = user
    strange = np.flatnonzero(by_slate[slates.slate] != user)
    if len(strange):
        row = strange[0]
        slate = slates.slate[row]
        raise EvaluationError(
            f"Impression {slates.ids[int(slate)]} was shown to {names[int(user[row])]} and to "
            f"{names[int(by_slate[slate])]}, and an impression is one slate shown to one user. "
            "Derive impression ids that name the user."
        )
    return by_slate


def sums_by_user(gains: Floats, users: Ints) -> tuple[Floats, Floats]:
    """(U,) summed gain and (U,) number of slates of each user that has any."""
    present, user = np.unique(users, return_inverse=True)
    if len(present) < 2:
        raise EvaluationError(
            f"All {len(gains):,} judged impressions are one user's, and the interval needs at "
            "least two users. Widen the holdout or check the user_id column."
        )
    ones = np.ones(len(user))
    return sum_by(user, gains, len(present)), sum_by(user, ones, len(present))
