"""The mean gain of slates that come in users, and how far it may be from the truth.

Shapes: S ranking slates, U users, R resamples.
"""

import numpy as np

from tasks.errors import EvaluationError
from tasks.evaluation.slates import Column, Floats, Ints, Slates, factorise, sum_by

MAX_WEIGHTS = 4_000_000
"""Resampling weights held in memory at once: 32 MB."""


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
