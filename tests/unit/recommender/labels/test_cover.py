from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.recommender.labels.cover import herd, k_center

points = st.integers(2, 9).flatmap(
    lambda n: arrays(np.float64, (n, 2), elements=st.integers(-20, 20).map(float))
)


def radius(vectors: np.ndarray, centres: list[int]) -> float:
    """Largest distance to the nearest centre."""
    away = np.linalg.norm(vectors[:, None] - vectors[centres], axis=2)
    return float(away.min(1).max())


@given(points, st.integers(1, 4), st.integers(0, 8))
@settings(max_examples=80, deadline=None)
def test_no_cover_of_as_many_centres_is_twice_as_close(vectors, num, first):
    num = min(num, len(vectors))
    found = k_center(vectors, num, first=first % len(vectors))
    best = min(radius(vectors, list(c)) for c in combinations(range(len(vectors)), num))
    assert len(set(found.tolist())) == num
    assert radius(vectors, found.tolist()) <= 2 * best + 1e-6


def test_each_centre_is_the_farthest_from_those_before():
    vectors = np.array([[0.0], [1.0], [4.0], [10.0]])
    # From 0 the farthest is 10, and then 4, which is 4 from 0 and 6 from 10.
    assert k_center(vectors, 3, first=0).tolist() == [0, 3, 2]


def test_copies_of_a_centre_are_taken_last():
    vectors = np.array([[0.1, 0.7]] * 4 + [[0.3, 0.7]])
    found = k_center(vectors, 5, first=2).tolist()
    assert found[:2] == [2, 4]
    assert sorted(found) == [0, 1, 2, 3, 4]


def test_herding_keeps_the_mean_nearer_than_a_random_draw_does():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 8)) * rng.random(8) + rng.random(8)
    mean = vectors.mean(0)

    def error(chosen: np.ndarray) -> float:
        return float(np.linalg.norm(vectors[chosen].mean(0) - mean))

    drawn = [error(rng.permutation(300)[:16]) for _ in range(200)]
    assert error(herd(vectors, 16)) < min(drawn) / 2


@given(points, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_each_herded_one_is_the_best_next_one(vectors, num):
    num = min(num, len(vectors))
    found = herd(vectors, num).tolist()
    mean = vectors.mean(0)
    assert len(set(found)) == num
    for k in range(num):
        errors = [
            np.linalg.norm(mean - vectors[[*found[:k], x]].mean(0))
            for x in range(len(vectors))
            if x not in found[:k]
        ]
        assert np.linalg.norm(mean - vectors[found[: k + 1]].mean(0)) <= min(errors) + 1e-9
