import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import EvaluationError
from tasks.evaluation.clusters import clustered_error, studentised_interval
from tasks.evaluation.contest import hold_contest
from tasks.evaluation.debiased import debiased_impression_auc


def make_rows(num_users=60, seed=0, lift=1.0):
    """Slates of ten, one to four a user; the challenger's scores follow taste more."""
    rng = np.random.default_rng(seed)
    slates_by_user = rng.integers(1, 5, num_users)
    users = np.repeat(np.arange(num_users), slates_by_user)
    taste = rng.normal(size=(len(users), 10))
    clicked = taste + rng.gumbel(size=taste.shape) > 1.5
    champion = taste + 2 * rng.normal(size=taste.shape)
    challenger = champion + lift * taste
    squash = [1 / (1 + np.exp(-scores.ravel())) for scores in (champion, challenger)]
    impressions = np.repeat([f"i{n}" for n in range(len(users))], 10)
    return *squash, clicked.ravel(), impressions, np.repeat([f"u{u}" for u in users], 10)


def test_the_gain_worked_by_hand():
    # u: champion ranks one slate right and one wrong, challenger both right; v: the reverse of one
    clicked = [1, 0] * 3
    impressions = ["1", "1", "2", "2", "3", "3"]
    users = ["u"] * 4 + ["v"] * 2
    champion = [0.9, 0.1, 0.1, 0.9, 0.9, 0.1]
    challenger = [0.9, 0.1, 0.9, 0.1, 0.1, 0.9]
    contest = hold_contest(
        champion, challenger, clicked, impressions, users, confidence=0.9, seed=1
    )
    assert contest.champion_auc == pytest.approx(2 / 3)
    assert contest.challenger_auc == pytest.approx(2 / 3)
    assert contest.gain == 0
    assert (contest.impressions, contest.users) == (3, 2)
    # e_u = 1, e_v = −1: √(2/1 · 2) / 3
    assert contest.standard_error == pytest.approx(2 / 3)


def test_the_same_seed_gives_the_same_interval_whatever_the_order_of_the_rows():
    rows = make_rows()
    shuffled = np.random.default_rng(3).permutation(len(rows[0]))
    first = hold_contest(*rows, confidence=0.95, resamples=200, seed=7)
    again = hold_contest(
        *(column[shuffled] for column in rows), confidence=0.95, resamples=200, seed=7
    )
    assert (again.low, again.gain, again.high) == (first.low, first.gain, first.high)
    other = hold_contest(*rows, confidence=0.95, resamples=200, seed=8)
    assert other.low != first.low


def test_the_interval_brackets_a_clear_gain_and_agrees_with_the_influence_function():
    contest = hold_contest(*make_rows(num_users=400), confidence=0.95, seed=1)
    assert 0 < contest.low < contest.gain < contest.high
    half_width = (contest.high - contest.low) / 2
    assert half_width == pytest.approx(1.96 * contest.standard_error, rel=0.06)


def test_two_equal_models_have_an_interval_of_zero():
    champion, _, *rest = make_rows()
    contest = hold_contest(champion, champion, *rest, confidence=0.95, seed=1)
    assert (contest.gain, contest.low, contest.high) == (0, 0, 0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_swapping_the_two_reflects_the_interval(seed):
    champion, challenger, *rest = make_rows(num_users=12, seed=seed, lift=0.3)
    forth = hold_contest(champion, challenger, *rest, confidence=0.9, resamples=150, seed=2)
    back = hold_contest(challenger, champion, *rest, confidence=0.9, resamples=150, seed=2)
    assert back.low == pytest.approx(-forth.high)
    assert back.high == pytest.approx(-forth.low)


def test_more_slates_of_the_same_users_are_not_more_users():
    """Every slate copied nine times: clustered, the interval stays; by slate it would shrink."""
    *scores, clicked, impressions, users = make_rows(num_users=80)
    copies = 9
    repeated = [np.tile(column, copies) for column in (*scores, clicked)]
    renamed = np.concatenate([np.char.add(impressions, f"-{copy}") for copy in range(copies)])
    once = hold_contest(*scores, clicked, impressions, users, confidence=0.95, seed=1)
    often = hold_contest(*repeated, renamed, np.tile(users, copies), confidence=0.95, seed=1)
    assert often.impressions == copies * once.impressions
    assert often.low == pytest.approx(once.low)
    assert often.high == pytest.approx(once.high)


def simulate_intervals(draw_gains, num_users, num_intervals=600):
    """(num_intervals, 2) ends of 90 % intervals over users with up to eight slates each."""
    rng = np.random.default_rng(11)
    intervals = []
    for seed in range(num_intervals):
        slates_by_user = np.minimum(rng.geometric(0.6, num_users), 8)
        user = np.repeat(np.arange(num_users), slates_by_user)
        taste = rng.normal(0, 0.03, num_users)[user]
        gain_by_user = np.bincount(user, draw_gains(rng, len(user)) + taste)
        slates = slates_by_user.astype(float)
        intervals.append(
            studentised_interval(gain_by_user, slates, confidence=0.9, resamples=300, seed=seed)
        )
    return np.array(intervals)


def even_gains(rng, size):
    return rng.normal(0.02, 0.15, size)


def rare_gains(rng, size):
    """One slate in twenty carries the gain, as when one new topic is what was learned."""
    return (rng.random(size) < 0.05) * rng.exponential(0.4, size)


@pytest.mark.parametrize(
    ("draw_gains", "num_users"), [(even_gains, 40), (even_gains, 250), (rare_gains, 250)]
)
def test_ninety_of_a_hundred_intervals_hold_the_true_gain(draw_gains, num_users):
    low, high = simulate_intervals(draw_gains, num_users).T
    # three standard deviations of a share of 600 are 0.037
    assert np.mean((low <= 0.02) & (high >= 0.02)) == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("draw_gains", [even_gains, rare_gains])
def test_a_lower_end_above_the_true_gain_is_as_rare_as_promised_even_with_few_users(draw_gains):
    low = simulate_intervals(draw_gains, num_users=40)[:, 0]
    # promised 5 %; three standard deviations are 2.7 %
    assert np.mean(low > 0.02) <= 0.077


def test_where_one_user_alone_makes_the_difference_the_interval_says_so():
    gain_by_user = np.zeros(50)
    gain_by_user[0] = 0.5
    low, high = studentised_interval(
        gain_by_user, np.ones(50), confidence=0.9, resamples=500, seed=1
    )
    assert -1 <= low < 0 < high == 1


def test_memory_stays_bounded_without_changing_a_number(monkeypatch):
    rows = make_rows()
    whole = hold_contest(*rows, confidence=0.9, resamples=100, seed=1)
    monkeypatch.setattr("tasks.evaluation.clusters.MAX_WEIGHTS", 500)
    chunked = hold_contest(*rows, confidence=0.9, resamples=100, seed=1)
    assert (chunked.low, chunked.high) == pytest.approx((whole.low, whole.high))


def test_clustered_error_of_single_slates_is_the_error_of_a_mean():
    gains = np.random.default_rng(2).normal(size=40)
    expected = gains.std(ddof=1) / np.sqrt(40)
    assert clustered_error(gains, np.ones(40)) == pytest.approx(expected)


def test_a_contest_is_json():
    contest = hold_contest(*make_rows(), confidence=0.9, resamples=50, seed=1)
    document = json.loads(json.dumps(contest.to_json(), allow_nan=False))
    assert document["champion"]["impression_auc"] == contest.champion_auc
    assert replace(contest).to_json() == document


def test_contests_that_cannot_be_judged_are_refused():
    champion, challenger, clicked, impressions, users = make_rows()
    with pytest.raises(EvaluationError, match="needs at least two users"):
        hold_contest(
            champion, challenger, clicked, impressions, ["one"] * len(users), confidence=0.9, seed=1
        )
    users[0] = "stranger"
    with pytest.raises(EvaluationError, match="Impression i0 was shown to"):
        hold_contest(champion, challenger, clicked, impressions, users, confidence=0.9, seed=1)
    with pytest.raises(EvaluationError, match="confidence of 95 is not between"):
        hold_contest(champion, challenger, clicked, impressions, users, confidence=95, seed=1)


def biased_log(num_slates=1_500, seed=4):
    """Slates of six; lower places are looked at less, and a champion that repeats the layout."""
    rng = np.random.default_rng(seed)
    place = np.tile(np.arange(6), num_slates)
    examined = 1 / (1 + place)
    relevance = rng.random(len(place)) * 0.6
    clicked = rng.random(len(place)) < examined * relevance
    layout, taste = examined, np.clip(relevance + 0.1 * rng.normal(size=len(place)), 0, 1)
    impressions = np.repeat(np.arange(num_slates), 6).astype(str)
    return layout, taste, clicked, impressions, impressions, examined


def test_a_champion_that_repeats_the_layout_wins_by_clicks_and_loses_by_relevance():
    *rows, examined = biased_log()
    by_clicks = hold_contest(*rows, confidence=0.95, resamples=300, seed=1)
    by_relevance = hold_contest(*rows, confidence=0.95, resamples=300, seed=1, examined=examined)
    assert by_clicks.high < 0
    assert by_relevance.low > 0
    assert not by_clicks.debiased
    assert by_relevance.debiased
    assert by_relevance.impressions == by_clicks.impressions
    layout, taste, clicked, impressions, _ = rows
    for scores, auc in ((layout, by_relevance.champion_auc), (taste, by_relevance.challenger_auc)):
        assert auc == pytest.approx(debiased_impression_auc(scores, clicked, impressions, examined))
    assert by_relevance.gain == pytest.approx(
        by_relevance.challenger_auc - by_relevance.champion_auc
    )
