import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from tasks.recommender.learning.contrastive import info_nce, simcse
from tasks.recommender.learning.step import Affinity
from tasks.recommender.recipe import Contrast

UP, RIGHT, DIAGONAL = [0.0, 1.0], [1.0, 0.0], [0.6, 0.8]
ITEMS = torch.tensor([UP, RIGHT, DIAGONAL])


def loss_of(affinity, clicked, slate, **contrast) -> float:
    weight = torch.ones(len(clicked))
    how = Contrast(info_nce=1.0, temperature=0.5, **contrast)
    clicks = torch.tensor(clicked, dtype=torch.float32)
    return info_nce(affinity, clicks, torch.tensor(slate), weight, how).item()


def test_info_nce_by_hand_on_three_vectors():
    affinity = Affinity(torch.tensor([UP]), ITEMS, torch.tensor([0, 1, 2]))
    # The user's cosines 1, 0 and 0.8, over a temperature of 0.5.
    terms = [math.exp(2), math.exp(0), math.exp(1.6)]
    by_hand = math.log(sum(terms) / terms[0])
    assert loss_of(affinity, [1, 0, 0], [0, 0, 0]) == pytest.approx(by_hand, rel=1e-6)
    # The closest one alone.
    by_hand = math.log((terms[0] + terms[2]) / terms[0])
    one = loss_of(affinity, [1, 0, 0], [0, 0, 0], hard_negatives=1)
    assert one == pytest.approx(by_hand, rel=1e-6)


def test_the_same_item_elsewhere_and_other_clicks_of_the_user_are_no_negatives():
    users = torch.tensor([UP, RIGHT])
    # The second user was shown item 0 too, and clicked item 1: negatives of the first are 1 and 2.
    both = Affinity(users, ITEMS, torch.tensor([0, 2, 0, 1]))
    first = math.log((math.exp(2) + math.exp(0) + math.exp(1.6)) / math.exp(2))
    second = math.log((math.exp(2) + math.exp(0) + math.exp(1.2)) / math.exp(2))
    found = loss_of(both, [1, 0, 0, 1], [0, 0, 1, 1])
    assert found == pytest.approx((first + second) / 2, rel=1e-6)
    # With both clicked, the first user's only negative is 1.
    clicked = loss_of(both, [1, 1, 0, 0], [0, 0, 1, 1])
    parts = [math.log((math.exp(z) + 1) / math.exp(z)) for z in (2, 1.6)]
    assert clicked == pytest.approx(sum(parts) / 2, rel=1e-6)


def test_users_and_items_without_a_text_are_left_out():
    nothing = [0.0, 0.0]
    users = torch.tensor([UP, nothing])
    items = torch.tensor([UP, RIGHT, nothing])
    affinity = Affinity(users, items, torch.tensor([0, 1, 2, 0, 1]))
    found = loss_of(affinity, [1, 0, 1, 1, 0], [0, 0, 0, 1, 1])
    assert found == pytest.approx(math.log((math.exp(2) + 1) / math.exp(2)), rel=1e-6)
    assert loss_of(Affinity(users[1:], items, torch.tensor([0, 1])), [1, 0], [0, 0]) == 0


def test_in_batch_negatives_are_cross_entropy_over_all_items():
    generator = torch.Generator().manual_seed(0)
    users, items = (normalize(torch.randn(6, 8, generator=generator), dim=1) for _ in range(2))
    ours = loss_of(Affinity(users, items, torch.arange(6)), [1] * 6, list(range(6)))
    theirs = cross_entropy(users @ items.T / 0.5, torch.arange(6))
    assert ours == pytest.approx(theirs.item(), rel=1e-5)


def test_a_weighted_click_counts_so_often():
    affinity = Affinity(torch.tensor([UP]), ITEMS, torch.tensor([0, 1, 2]))
    clicked, slate = torch.tensor([1.0, 0, 0]), torch.zeros(3, dtype=torch.long)
    how = Contrast(info_nce=1.0)
    one, three = (
        info_nce(affinity, clicked, slate, torch.full((3,), w), how).item() for w in (1.0, 3.0)
    )
    assert three == pytest.approx(3 * one)


def test_a_step_down_info_nce_brings_user_and_click_closer():
    users = torch.tensor([DIAGONAL], requires_grad=True)
    affinity = Affinity(users, ITEMS[:2], torch.tensor([0, 1]))
    clicked, slate = torch.tensor([1.0, 0.0]), torch.zeros(2, dtype=torch.long)
    info_nce(affinity, clicked, slate, torch.ones(2), Contrast(info_nce=1.0)).backward()
    assert users.grad is not None
    assert float(users.grad[0] @ ITEMS[0]) < 0 < float(users.grad[0] @ ITEMS[1])


def test_simcse_by_hand_and_lowest_for_texts_that_are_far_apart():
    views = torch.tensor([UP, RIGHT])
    by_hand = math.log((math.exp(2) + 1) / math.exp(2))
    assert simcse(views, views, 0.5).item() == pytest.approx(by_hand, rel=1e-6)
    close = torch.tensor([UP, DIAGONAL])
    assert simcse(close, close, 0.5).item() > by_hand
