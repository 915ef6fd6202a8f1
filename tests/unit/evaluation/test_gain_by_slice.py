import numpy as np
import pytest

from tasks.evaluation.contest import hold_contest
from tasks.evaluation.gain_by_slice import gain_by_slice
from tests.unit.evaluation.test_contest import make_rows


def test_a_slice_is_the_contest_on_the_slates_whose_click_is_in_it():
    _, _, clicked, impressions, _ = rows = make_rows(num_users=80)
    member = np.random.default_rng(4).random(len(clicked)) < 0.3
    chosen = np.isin(impressions, np.unique(impressions[member & clicked]))
    alone = hold_contest(*(column[chosen] for column in rows), confidence=0.9, seed=2)
    [found] = gain_by_slice(*rows, {"some": member}, confidence=0.9, seed=2)
    assert (found.slice, found.impressions, found.users) == ("some", alone.impressions, alone.users)
    assert (found.low, found.gain, found.high) == pytest.approx((alone.low, alone.gain, alone.high))


def test_all_rows_as_a_slice_are_the_contest_itself():
    rows = make_rows(num_users=80)
    everything = {"all": np.ones(len(rows[2]), np.bool_)}
    [found] = gain_by_slice(*rows, everything, confidence=0.95, seed=2)
    contest = hold_contest(*rows, confidence=0.95, seed=2)
    assert (found.low, found.gain, found.high) == pytest.approx(
        (contest.low, contest.gain, contest.high)
    )


def test_a_loss_planted_in_one_slice_is_seen_there_and_not_beside_it():
    champion, challenger, clicked, impressions, users = make_rows(num_users=400)
    hurt = np.repeat(np.arange(len(clicked) // 10) % 10 == 0, 10)
    challenger = np.where(hurt, 1 - challenger, challenger)
    found = gain_by_slice(
        champion,
        challenger,
        clicked,
        impressions,
        users,
        {"hurt": hurt, "others": ~hurt},
        confidence=0.95,
        seed=1,
    )
    hurt_slice, others = found
    assert hurt_slice.high < 0 < others.low


def test_a_slice_of_one_user_has_no_interval_and_is_left_out():
    rows = make_rows(num_users=10)
    one = {"one user": rows[4] == "u3", "nobody": np.zeros(len(rows[2]), np.bool_)}
    assert gain_by_slice(*rows, one, confidence=0.9, seed=1) == []
