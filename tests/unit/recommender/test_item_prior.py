"""What is thought of items, read off similar ones."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tasks.recommender.hybrid import new_head
from tasks.recommender.item_prior import MAX_LANDMARKS, SHARPNESS, ItemPrior, choose_landmarks


@pytest.fixture
def landmarks() -> torch.Tensor:
    return normalize(torch.randn(12, 16, generator=torch.Generator().manual_seed(0)), dim=1)


def test_on_landmarks_the_products_of_phi_are_the_kernel(landmarks):
    read = ItemPrior(landmarks).read(landmarks)
    kernel = (SHARPNESS * (landmarks @ landmarks.T - 1)).exp()
    torch.testing.assert_close(read @ read.T, kernel, atol=1e-4, rtol=0)


def test_the_root_is_the_symmetric_one_which_no_eigenvectors_choose(landmarks):
    read = ItemPrior(landmarks).read(landmarks)
    torch.testing.assert_close(read, read.T, atol=1e-4, rtol=0)
    turned = ItemPrior(landmarks.flip(0)).read(landmarks)
    torch.testing.assert_close(turned.flip(1), read, atol=1e-4, rtol=0)


def test_an_item_without_text_has_no_opinion(landmarks):
    asked = torch.cat([landmarks[:1], torch.zeros(1, 16)])
    read = ItemPrior(landmarks).read(asked)
    assert bool(read[0].any())
    assert not bool(read[1].any())


def test_an_unrated_item_is_read_off_similar_ones(landmarks):
    liked = torch.zeros(12, dtype=torch.float64)
    liked[0], liked[1] = 1.0, -1.0
    phi = ItemPrior(landmarks).read(landmarks).double()
    weights = torch.linalg.solve(phi.T @ phi + 0.1 * torch.eye(12), phi.T @ liked)
    near = normalize(landmarks + 0.05 * normalize(landmarks.roll(5, 0), dim=1), dim=1)
    read = ItemPrior(landmarks).read(near[:2]).double() @ weights
    assert read[0] > 0.5
    assert read[1] < -0.5
    alone = torch.zeros(1, 16)
    alone[0] = torch.linalg.svd(landmarks).Vh[-1]  # at right angles to all but by chance
    assert abs(ItemPrior(landmarks).read(alone).double() @ weights) < 0.3


def test_landmarks_are_what_was_judged_oftenest():
    candidate = np.array([3, 1, 1, 7, 7, 7, 2])
    assert choose_landmarks(candidate, most=2).tolist() == [7, 1]
    assert choose_landmarks(candidate).tolist() == [7, 1, 2, 3]


def test_a_head_is_read_back_with_any_number_of_landmarks(landmarks):
    head, plain = new_head(seed=0), new_head(seed=0)
    head.set_landmarks(landmarks)
    with torch.no_grad():
        head.opinion.normal_()
    for other in (new_head(seed=1), new_head(seed=2)):
        other.set_landmarks(landmarks[:3])
        other.load_state_dict(head.state_dict())
        assert torch.equal(other.opinion, head.opinion)
        assert torch.equal(other._prior.root, head._prior.root)
        other.load_state_dict(plain.state_dict())
        assert other._prior is None
        assert len(other.opinion) == 0


def test_the_prior_goes_where_the_head_goes_and_is_not_stored_twice(landmarks):
    head = new_head(seed=0)
    head.set_landmarks(landmarks)
    assert not [name for name in head.state_dict() if name.startswith("_prior")]
    moved = head.to("meta")
    assert {moved._prior.landmarks.device.type, moved._prior.root.device.type} == {"meta"}


def test_a_full_item_prior_leaves_a_version_small():
    head = new_head(seed=0)
    head.set_landmarks(normalize(torch.randn(MAX_LANDMARKS, 384), dim=1))
    stored = sum(tensor.numel() * tensor.element_size() for tensor in head.state_dict().values())
    assert stored < 1_300_000
