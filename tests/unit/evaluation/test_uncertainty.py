"""How sure an impression AUC is: by hand, against a contest, and against resampled users."""

import numpy as np
import pytest

from tasks.errors import EvaluationError
from tasks.evaluation.contest import hold_contest
from tasks.evaluation.metrics import impression_auc
from tasks.evaluation.uncertainty import estimate_auc, estimate_gain

CLICKED = [1, 0, 1, 0, 0, 1]
SLATES = ["a", "a", "b", "b", "c", "c"]
USERS = ["u", "u", "v", "v", "v", "v"]


def portal(seed: int, num_users: int = 120) -> dict[str, np.ndarray]:
    """Slates of six, of users who come once to eight times and are easy or hard to please."""
    rng = np.random.default_rng(seed)
    slates = rng.integers(1, 9, num_users)
    user = np.repeat(np.repeat(np.arange(num_users), slates), 6)
    slate = np.repeat(np.arange(slates.sum()), 6)
    taste = np.repeat(np.repeat(rng.normal(0.4, 0.5, num_users), slates), 6)
    score = rng.random(len(slate))
    clicked = rng.random(len(slate)) < 1 / (1 + np.exp(1.5 - 2 * taste * (score - 0.5)))
    other = np.clip(score + rng.normal(0, 0.3, len(slate)), 0, 1)
    return {"score": score, "other": other, "clicked": clicked, "slate": slate, "user": user}


def test_an_error_worked_by_hand():
    # AUC by slate: a 1, b 0, c 1; mean 2/3. Users: u (1 of 1 slate), v (1 of 2 slates).
    # e_u = 1 − 2/3 = 1/3, e_v = 1 − 4/3 = −1/3: √(2 · (1/9 + 1/9)) / 3 = 2/9.
    found = estimate_auc([0.9, 0.1, 0.2, 0.8, 0.3, 0.7], CLICKED, SLATES, USERS)
    assert found.value == pytest.approx(2 / 3)
    assert found.standard_error == pytest.approx(2 / 9)


def test_the_value_is_impression_auc_and_the_gain_is_a_contests():
    p = portal(1)
    judges = (p["clicked"], p["slate"], p["user"])
    found = estimate_auc(p["score"], *judges)
    assert found.value == pytest.approx(impression_auc(p["score"], p["clicked"], p["slate"]))
    gain = estimate_gain(p["score"], p["other"], *judges)
    contest = hold_contest(p["other"], p["score"], *judges, confidence=0.9, seed=1)
    assert gain == pytest.approx((contest.gain, contest.standard_error))


def test_the_error_is_what_resampled_users_vary_by():
    p = portal(2)
    found = estimate_auc(p["score"], p["clicked"], p["slate"], p["user"])
    rng, drawn = np.random.default_rng(3), []
    rows_of = [np.flatnonzero(p["user"] == user) for user in range(120)]
    for _ in range(300):
        rows = np.concatenate([rows_of[user] for user in rng.integers(0, 120, 120)])
        # A user who is drawn twice brings two sets of slates: numbering them anew keeps them apart.
        slate = np.repeat(np.arange(len(rows) // 6), 6)
        drawn.append(impression_auc(p["score"][rows], p["clicked"][rows], slate))
    assert found.standard_error == pytest.approx(np.std(drawn), rel=0.15)


def test_equal_models_differ_by_nothing():
    p = portal(4)
    gain = estimate_gain(p["score"], p["score"], p["clicked"], p["slate"], p["user"])
    assert gain == (0.0, 0.0)


def test_what_cannot_be_judged_is_an_error():
    with pytest.raises(EvaluationError, match="AUC is undefined"):
        estimate_auc([0.1, 0.2], [0, 0], ["a", "a"], ["u", "u"])
    with pytest.raises(EvaluationError, match="are one user's"):
        estimate_auc([0.1, 0.2], [0, 1], ["a", "a"], ["u", "u"])
