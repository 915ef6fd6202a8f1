"""What a history with dislikes says: rates of the user, lasting rates of items, taste."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.recommender import behaviour, match
from tasks.recommender.behaviour import USER_RATES, behaviour_features, user_rates
from tasks.recommender.head import MATCH_CENTRE, MATCH_MIX, USER_MIX, Features, zero_shot_score
from tasks.recommender.match import Matches, fixed_features
from tasks.recommender.statistics import Counts


@pytest.fixture
def prepared(ranker, rows, context):
    return ranker.prepare(rows.slice(0, 12), context)


def column(prepared, name: str, counts: Counts, hour: int) -> np.ndarray:
    slates = replace(prepared.slates, hour=np.full(len(prepared.slates.slate), hour))
    vectors = torch.from_numpy(prepared.items.vectors)
    found = behaviour_features(slates, prepared.items, counts, vectors)
    return found[:, behaviour.NAMES.index(name)]


def test_the_user_s_rates_by_hand(prepared):
    slates = replace(
        prepared.slates,
        slate=np.arange(12) // 6,
        history=np.array([[0, 1, 2], [0, -1, -1]]),
        liked=np.array([[True, False, False], [True, False, False]]),
    )
    whole, recent = user_rates(slates)
    # Newest first: like, dislike, dislike; the recent one weighs them 1, 0.7 and 0.49.
    first, second = slates.slate == 0, slates.slate == 1
    np.testing.assert_allclose(whole[first], np.log(2 / 3))
    np.testing.assert_allclose(recent[first], np.log(2 / (1 + 0.7 + 0.49)))
    np.testing.assert_allclose(whole[second], np.log(2))
    np.testing.assert_allclose(recent[second], np.log(2))


def test_a_lasting_rate_by_hand(prepared):
    item = int(prepared.slates.candidate[0])
    # 40 impressions and 10 clicks, one lasting half-life (90 days) before the hour that reads them.
    hour = 24 * 90
    counts = Counts(
        np.array([item]), np.array([0]), np.array([[40.0, 10.0]]), len(prepared.items.texts)
    )
    level = (10 * 2 ** (-(hour - 1) / 168) + 100 * 0.05) / (40 * 2 ** (-(hour - 1) / 168) + 100)
    seen = np.array([40.0, 10.0]) * 2 ** (-(hour - 1) / (24 * 90))
    strength = 1.5 / level
    rate = (seen[1] + strength * level) / (seen[0] + strength)
    expected = np.log(rate / (1 - rate)) - np.log(level / (1 - level))
    found = column(prepared, "lasting_rate", counts, hour)
    mine = prepared.slates.candidate == item
    np.testing.assert_allclose(found[mine], expected, rtol=1e-5)
    np.testing.assert_allclose(found[~mine], 0.0, atol=1e-6)
    logged = column(prepared, "lasting_impressions", counts, hour)
    np.testing.assert_allclose(logged[mine], np.log1p(seen[0]), rtol=1e-5)


def opinions(cosine, liked, disliked) -> Matches:
    return Matches(
        torch.tensor([cosine], dtype=torch.float32),
        torch.tensor([liked]),
        torch.tensor([disliked]),
    )


def taste(matches: Matches) -> float:
    return float(fixed_features(matches)[0, match.NAMES.index("taste")])


def test_taste_by_hand():
    matches = opinions([1.0, 0.5, 0.9], [True, False, False], [False, True, False])
    # The third entry has no text. Mean opinion (1 + 1) / (2 + 2), weights 1 and exp(−4).
    weight = np.array([1.0, np.exp(-4.0)])
    expected = (0.5 * weight[0] - 0.5 * weight[1]) / (weight.sum() + 0.05)
    assert taste(matches) == pytest.approx(expected, rel=1e-5)


def test_taste_turns_with_the_opinions_and_is_silent_without_dislikes():
    liked, disliked = [True, False], [False, True]
    towards = taste(opinions([0.9, 0.1], liked, disliked))
    assert towards > 0 > taste(opinions([0.1, 0.9], liked, disliked))
    assert towards == pytest.approx(-taste(opinions([0.9, 0.1], disliked, liked)))
    assert taste(opinions([0.9, 0.1], [True, True], [False, False])) == 0.0


def features(matches: Matches, rates: tuple[float, float]) -> Features:
    told = torch.zeros(1, len(behaviour.NAMES))
    for name, rate in zip(USER_RATES, rates, strict=True):
        told[0, behaviour.NAMES.index(name)] = rate
    nothing = torch.zeros(1)
    return Features(
        matches, fixed_features(matches), told, nothing, torch.ones(1, 2), torch.zeros(1).long()
    )


def test_the_zero_shot_score_of_likes_is_the_match_and_of_dislikes_taste_and_rates():
    likes = features(opinions([0.9, 0.1], [True, True], [False, False]), (0.7, 0.4))
    mean, largest, recent = MATCH_MIX["mean"], MATCH_MIX["max"], MATCH_MIX["recent"]
    expected = (mean + recent) * 0.5 + largest * 0.9 - MATCH_CENTRE
    assert zero_shot_score(likes).item() == pytest.approx(expected, rel=1e-5)
    matches = opinions([0.9, 0.1], [True, False], [False, True])
    mixed = features(matches, (0.7, 0.4))
    expected = taste(matches) + USER_MIX * 1.1
    assert zero_shot_score(mixed).item() == pytest.approx(expected, rel=1e-5)


def test_where_the_log_holds_dislikes_a_user_without_any_likes_a_lot():
    likes = features(opinions([0.9, 0.1], [True, True], [False, False]), (0.7, 0.4))
    known = zero_shot_score(likes, rated=torch.tensor(1.0)).item()
    assert known == pytest.approx(USER_MIX * 1.1, rel=1e-5)
    unknown = zero_shot_score(likes, rated=torch.tensor(0.0)).item()
    assert unknown == zero_shot_score(likes).item()


def test_nothing_to_read_is_neutral():
    empty = features(opinions([0.9], [False], [False]), (0.0, 0.0))
    assert zero_shot_score(empty).item() == 0.0
