import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift import text
from tasks.drift.text import ItemEmbeddings, Text, apart, combine, describe
from tasks.drift.text_effects import measure


def directions(number: int, seed: int, width: int = 96, around: float = 0.0) -> np.ndarray:
    """Unit vectors around a common direction."""
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(number, width)) / math.sqrt(width)
    vectors[:, 0] += around
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def shown(vectors: np.ndarray, weights: np.ndarray | None = None, first: int = 0) -> Text:
    ids = [f"i{first + n}" for n in range(len(vectors))]
    rows = np.ones(len(vectors), np.int64) if weights is None else weights
    return describe(ids, rows, ItemEmbeddings(pa.array(ids), vectors, "mini"))


def test_sums_are_those_of_every_candidate() -> None:
    vectors, weights = directions(5000, 1), np.random.default_rng(2).integers(1, 9, 5000)
    found, every = shown(vectors, weights), np.repeat(vectors, weights, axis=0)
    x = every @ text.projection(96)

    assert found.rows == len(every)
    np.testing.assert_allclose(found.total, every.sum(axis=0), atol=1e-2)
    np.testing.assert_allclose(found.covariance, np.cov(x.T, bias=True), atol=1e-5)
    np.testing.assert_allclose(found.features, text.random_features(x).sum(axis=0), rtol=1e-4)
    assert found.variance == pytest.approx(np.var(every, axis=0).sum(), rel=1e-3)


def test_projections_keep_lengths_and_features_are_the_kernel() -> None:
    x = directions(50, 3, width=384) @ text.projection(384)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=0.4)
    assert np.linalg.norm(x, axis=1).mean() == pytest.approx(1, abs=0.05)
    gaps = np.linalg.norm(x[:, None] - x[None], axis=2)
    kernel = np.exp(-(gaps**2) / (2 * text.BANDWIDTH**2))
    features = text.random_features(x)
    np.testing.assert_allclose(features @ features.T, kernel, atol=0.2)
    assert np.abs(features @ features.T - kernel).mean() < 0.04
    np.testing.assert_allclose((features**2).sum(axis=1), 1, rtol=1e-5)


def test_a_narrow_embedding_is_not_projected() -> None:
    assert (text.projection(3) == np.eye(3, text.WIDTH)).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=3, max_size=3), st.integers(0, 99))
def test_merging_is_associative_and_commutative(sizes: list[int], seed: int) -> None:
    # ids overlap from day to day, as items do
    days = [
        shown(directions(size, seed), np.random.default_rng(n).integers(1, 99, size), first=50 * n)
        for n, size in enumerate(sizes)
    ]
    a, b, c = days
    left, right, flat = (
        combine([combine([a, b]), c]), combine([c, combine([b, a])]), combine(days)
    )  # fmt: skip
    assert left is not None and right is not None and flat is not None
    for name in ("rows", "total", "outer", "features", "shown"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), atol=1e-9)
    assert (
        left.sample.hashes.tolist() == right.sample.hashes.tolist() == flat.sample.hashes.tolist()
    )
    assert len(left.sample.keys) <= text.SAMPLE


def test_heavier_items_are_sampled_sooner() -> None:
    weights = np.where(np.arange(4000) < 400, 50, 1)
    sample = shown(directions(4000, 4), weights).sample
    # 20,000 of 23,600 draws are of the first 400 items: all but a few of them are in
    hashes = set(text._hashes([f"i{n}" for n in range(400)]).tolist())
    assert len(hashes & set(sample.hashes.tolist())) > 300


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_the_count_sketch_tells_how_far_shares_are_apart(seed: int) -> None:
    draw = np.random.default_rng(seed)
    w, v = draw.pareto(1.5, (2, 3000)) * 20 + 1
    first, second = (shown(directions(3000, 5), each.astype(np.int64)) for each in (w, v))
    p, q = (np.floor(each) / np.floor(each).sum() for each in (w, v))
    assert apart(first, second) == pytest.approx(((p - q) ** 2).sum(), rel=0.3)


def test_noise_is_what_days_of_other_items_of_one_world_are_apart() -> None:
    values, noises = [], []
    for n in range(40):
        weights = np.random.default_rng(n).integers(1, 20, 500)
        week = shown(directions(3000, 1000 + n, around=1.0))
        day = shown(directions(500, n, around=1.0), weights, first=3000)
        effects = measure(week, day)
        values.append([effect.value for effect in effects])
        noises.append([effect.noise for effect in effects])
    root = np.sqrt(np.mean(np.square(values), axis=0))
    np.testing.assert_allclose(root, np.mean(noises, axis=0), rtol=0.12)


@pytest.mark.parametrize(("column", "least"), [("item_embedding", 5), ("item_mmd", 4)])
def test_a_tenth_of_candidates_with_new_words_stands_out(column: str, least: float) -> None:
    """New words inside old categories: their items lie apart from all that was shown before."""

    def effects(new: int, seed: int) -> float:
        vectors = directions(500, seed, around=0.5)
        vectors[:new] = np.roll(directions(new, seed + 1, around=1.0), 7, axis=1)
        week = shown(directions(3000, seed + 2, around=0.5))
        (found,) = [e for e in measure(week, shown(vectors, first=3000)) if e.column == column]
        return found.value

    calm = np.array([effects(0, 10 * n) for n in range(20)])
    moved = np.array([effects(50, 10 * n) for n in range(20)])
    assert (moved.mean() - calm.mean()) / calm.std() > least
    assert (moved > calm.max()).mean() >= 0.95


def test_a_mean_that_stays_can_hide_neither_spread_nor_shape() -> None:
    """Half the items go left, half go right: the mean is where it was."""
    plain = directions(2000, 6)
    split = plain.copy()
    split[::2, 3] += 0.8
    split[1::2, 3] -= 0.8
    effects = {each.column: each for each in measure(shown(plain), shown(split, first=2000))}

    assert effects["item_embedding"].value < 3 * effects["item_embedding"].noise
    assert effects["item_covariance"].shift > 3 * effects["item_covariance"].noise
    assert effects["item_mmd"].shift > 3 * effects["item_mmd"].noise


def test_the_same_items_shown_alike_are_the_same_day() -> None:
    day = shown(directions(300, 7))
    assert [effect.value for effect in measure(day, day)] == [0, 0, 0]
    assert measure(day, None) == []


def test_items_that_nothing_is_known_of_are_left_out() -> None:
    known = ItemEmbeddings(pa.array(["a"]), np.ones((1, 3), np.float32), "mini")
    some = describe(["a", "b"], np.array([2, 5]), known)
    assert (some.rows, some.total.tolist()) == (2, [2, 2, 2])
    assert measure(describe(["b"], np.array([5]), known), some) == []
