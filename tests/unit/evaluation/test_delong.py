import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tasks.errors import EvaluationError
from tasks.evaluation.delong import pooled_gain


def make_rows(num_users=60, seed=0, ties=False, liking=0.0):
    """Ten rows a user; the challenger understands some readers and misreads others in every row.

    With `liking` it also scores all rows of a reader too high or too low: his clicks and his skips.
    """
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(num_users), 10)
    taste = rng.normal(size=len(user)) + rng.normal(size=num_users)[user]
    clicked = taste + rng.gumbel(size=len(user)) > 1.5
    understood = rng.choice([-1.0, 3.0], size=num_users)[user]
    champion = taste + 2 * rng.normal(size=len(user))
    challenger = understood * taste + rng.normal(size=len(user))
    challenger += liking * rng.normal(size=num_users)[user]
    if ties:
        champion, challenger = np.round(champion), np.round(challenger)
    return champion, challenger, clicked, user


def by_pairs(scores, clicked):
    """Placements from all pairs at once: the definition."""
    click, skip = scores[clicked][:, None], scores[~clicked]
    won = (click > skip) + 0.5 * (click == skip)
    return won.mean(axis=1), won.mean(axis=0)


def test_the_gain_worked_by_hand():
    # pairs (click, skip): champion wins 2 of 4, challenger 4 of 4
    clicked = [1, 1, 0, 0]
    found = pooled_gain([4, 1, 3, 2], [4, 3, 2, 1], clicked, ["u", "v", "u", "v"])
    assert (found.champion_auc, found.challenger_auc, found.gain) == (0.5, 1.0, 0.5)
    # D of clicks 0, 1 and of skips 0.5, 0.5, less the gain: u −0.5 and 0, v 0.5 and 0
    # S_click = 2/1 · (0.25 + 0.25) / 2 = 0.5, over 2 clicks 0.25; the others 0
    assert found.standard_error == pytest.approx(0.5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_each_auc_is_that_of_scikit_learn_and_the_error_is_delongs_when_rows_are_alone(seed, ties):
    champion, challenger, clicked, user = make_rows(12, seed, ties)
    found = pooled_gain(champion, challenger, clicked, np.arange(len(user)))
    assert found.champion_auc == pytest.approx(roc_auc_score(clicked, champion))
    assert found.challenger_auc == pytest.approx(roc_auc_score(clicked, challenger))
    (old_click, old_skip), (new_click, new_skip) = (
        by_pairs(scores, clicked) for scores in (champion, challenger)
    )
    variance = sum(
        (new - old).var(ddof=1) / len(old)
        for old, new in ((old_click, new_click), (old_skip, new_skip))
    )
    assert found.standard_error == pytest.approx(np.sqrt(variance))


@pytest.mark.parametrize("liking", [0.0, 6.0])
def test_the_clustered_error_agrees_with_resampling_users(liking):
    champion, challenger, clicked, user = make_rows(200, liking=liking)
    found = pooled_gain(champion, challenger, clicked, user)
    rng = np.random.default_rng(1)
    rows = np.arange(len(user)).reshape(200, 10)
    gains = []
    for _ in range(400):
        drawn = rows[rng.integers(0, 200, 200)].ravel()
        resampled = (column[drawn] for column in (champion, challenger, clicked, user))
        gains.append(pooled_gain(*resampled).gain)
    assert found.standard_error == pytest.approx(np.std(gains), rel=0.12)


def test_readers_who_are_misread_in_every_row_are_less_evidence_than_rows():
    champion, challenger, clicked, user = make_rows(200)
    found = pooled_gain(champion, challenger, clicked, user)
    alone = pooled_gain(champion, challenger, clicked, np.arange(len(user)))
    assert found.standard_error > 1.2 * alone.standard_error


def test_rows_repeated_by_the_same_users_are_no_more_evidence():
    champion, challenger, clicked, user = make_rows()
    once = pooled_gain(champion, challenger, clicked, user)
    often = pooled_gain(*(np.tile(column, 7) for column in (champion, challenger, clicked, user)))
    assert often.gain == pytest.approx(once.gain)
    assert often.standard_error == pytest.approx(once.standard_error)


def test_swapping_the_two_reflects_the_interval():
    champion, challenger, *rest = make_rows()
    forth, back = pooled_gain(champion, challenger, *rest), pooled_gain(challenger, champion, *rest)
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))


def test_the_clicks_of_one_user_have_no_error():
    with pytest.raises(EvaluationError, match="1 users have clicks and 2 have skips"):
        pooled_gain([1, 2, 3], [1, 2, 3], [1, 0, 0], ["a", "b", "c"])
    with pytest.raises(EvaluationError, match="0 users have clicks"):
        pooled_gain([1, 2, 3], [1, 2, 3], [0, 0, 0], ["a", "b", "c"])
