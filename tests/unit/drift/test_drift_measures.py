import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import jensenshannon

from tasks.drift import measures
from tasks.drift.measures import Rate

WEIGHTS = hnp.arrays(np.float64, 5, elements=st.floats(0, 1000, allow_subnormal=False)).filter(
    lambda weights: weights.sum() > 1e-3
)


def test_jensen_shannon_worked_by_hand() -> None:
    # p = (1/2, 1/2, 0), q = (0, 1/2, 1/2), middle = (1/4, 1/2, 1/4):
    # KL(p, middle) = 1/2 log2 2 + 1/2 log2 1 = 1/2, the same for q
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    assert measures.jensen_shannon(p, q) == pytest.approx(0.5)


def test_nothing_in_common_is_one_bit_apart() -> None:
    assert measures.jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1


@given(WEIGHTS, WEIGHTS)
def test_jensen_shannon_is_symmetric_bounded_and_agrees_with_scipy(
    first: np.ndarray, second: np.ndarray
) -> None:
    p, q = first / first.sum(), second / second.sum()
    there, back = measures.jensen_shannon(p, q), measures.jensen_shannon(q, p)

    assert there == pytest.approx(back)
    assert 0 <= there <= 1 + 1e-12
    assert math.sqrt(there) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-6)


@given(WEIGHTS)
def test_a_distribution_is_not_apart_from_itself(weights: np.ndarray) -> None:
    shares = weights / weights.sum()
    assert measures.jensen_shannon(shares, shares) == pytest.approx(0, abs=1e-12)


def test_effective_degrees_worked_by_hand() -> None:
    assert measures.effective_degrees(np.ones(4)) == 4
    # (1 + 1/2)² / (1 + 1/4)
    assert measures.effective_degrees(np.array([1.0, 0.5])) == pytest.approx(1.8)
    assert measures.effective_degrees(np.zeros(3)) == 1


def test_log_ratio_worked_by_hand() -> None:
    # pooled 301 / 2002 = 0.15035; half a hit is 3.326 rows: ln((200.5 / 1003.3) / (100.5 / 1003.3))
    # misses 0.84965: √(2 × 0.84965 / 150.85)
    ratio = measures.log_ratio(Rate(100, 1000), Rate(200, 1000))
    assert ratio == (pytest.approx(0.6906, abs=1e-4), pytest.approx(0.1061, abs=1e-4))
    back = measures.log_ratio(Rate(200, 1000), Rate(100, 1000))
    assert back == (pytest.approx(-ratio.signed), pytest.approx(ratio.noise))


def test_a_design_that_draws_pairs_doubles_the_variance() -> None:
    single = measures.log_ratio(Rate(100, 1000), Rate(200, 1000))
    pairs = measures.log_ratio(Rate(100, 1000, 2.0), Rate(200, 1000, 2.0))
    assert pairs.noise == pytest.approx(single.noise * math.sqrt(2))


@pytest.mark.parametrize("rows", [800, 60])
def test_log_ratio_noise_is_what_resampling_shows(rows: int) -> None:
    draw = np.random.default_rng(4)
    hits = draw.binomial([[3000], [rows]], 0.1, (2, 4000))
    ratios = [measures.log_ratio(Rate(int(a), 3000), Rate(int(b), rows)) for a, b in hits.T]
    values, noises = np.array(ratios).T
    assert np.sqrt(np.mean(values**2)) == pytest.approx(noises.mean(), rel=0.15)


def test_a_handful_of_rows_is_within_its_noise() -> None:
    ratio = measures.log_ratio(Rate(50, 1000), Rate(1, 10))
    assert abs(ratio.signed) < ratio.noise
    assert measures.log_ratio(Rate(0, 10), Rate(0, 10)).signed == 0


def test_no_clicks_at_all_is_far_away_but_finite() -> None:
    ratio = measures.log_ratio(Rate(50, 1000), Rate(0, 1000))
    assert 10 * ratio.noise < -ratio.signed < 5


def test_share_shift_worked_by_hand() -> None:
    # 0.4 and 0.6 of 100 each: pooled 0.5, error √(0.25 × 0.02) = 0.0707
    assert measures.share_shift(0.4, 100, 0.6, 100) == pytest.approx((0.2, 0.07071), abs=1e-4)
    assert measures.share_shift(0.4, 100, 0.6, 0) == (0, 0)


def test_nothing_observed_without_noise_is_no_surprise() -> None:
    assert measures.chance(0.0, 0.0, 1) == 1
    assert measures.chance(0.1, 0.0, 1) == 0
    assert measures.chance(1.96, 1.0, 1) == pytest.approx(0.05, abs=1e-4)


def test_quantile_edges_cut_into_equal_parts() -> None:
    assert measures.quantile_edges(dict.fromkeys(range(100), 1), 4) == [0, 25, 50, 75, 100]


def test_a_value_that_exceeds_a_part_stays_alone() -> None:
    assert measures.quantile_edges({1: 10, 2: 70, 3: 10, 4: 10}, 10) == [1, 2, 3, 4, 5]
    assert measures.quantile_edges({7: 5}, 10) == [7, 8]


@given(st.dictionaries(st.integers(0, 999), st.integers(1, 50), min_size=1), st.integers(1, 12))
def test_no_part_is_empty(counts: dict[int, int], parts: int) -> None:
    edges = measures.quantile_edges(counts, parts)
    groups = np.searchsorted(edges, list(counts), side="right")

    assert edges == sorted(set(edges))
    assert set(groups.tolist()) == set(range(1, len(edges)))
