import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest

from tasks.drift import measures

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


def test_sampling_noise_covers_what_resampling_shows() -> None:
    draw = np.random.default_rng(3)
    shares = np.array([0.4, 0.3, 0.2, 0.05, 0.05])
    n, m = 400, 1500
    apart = [
        measures.jensen_shannon(draw.multinomial(n, shares) / n, draw.multinomial(m, shares) / m)
        for _ in range(2000)
    ]
    noise = measures.jensen_shannon_noise(5, n, m)

    # mean + 2 sd of chi-square with 4 degrees: exceeded in about 5 % of the draws
    assert 0.02 < np.mean(np.array(apart) > noise) < 0.08


def test_the_wilson_interval_worked_by_hand() -> None:
    # z = 2, 1 of 4: (1/4 + 4/8 ± √(1 × (3/16 + 1/4))) / (1 + 1) = (0.75 ± 0.6614) / 2
    assert measures.wilson(1, 4, z=2) == pytest.approx((0.0443, 0.7057), abs=1e-4)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_wilson_interval_agrees_with_scipy(hits: int, skips: int) -> None:
    if hits + skips:
        interval = binomtest(hits, hits + skips).proportion_ci(0.9, method="wilson")
        found = measures.wilson(hits, hits + skips)
        assert found == pytest.approx((interval.low, interval.high), abs=1e-4)


def test_log_ratio_is_the_gap_between_the_intervals() -> None:
    # 90 %: 100 of 1,000 is at most 0.1167, 200 of 1,000 at least 0.1800: ln(1.5424) = 0.433
    assert measures.log_ratio(100, 1000, 200, 1000) == pytest.approx(0.433, abs=2e-3)
    assert measures.log_ratio(200, 1000, 100, 1000) == measures.log_ratio(100, 1000, 200, 1000)


def test_log_ratio_grows_to_the_true_ratio_with_the_rows() -> None:
    values = [measures.log_ratio(n, 10 * n, 2 * n, 10 * n) for n in (1, 10, 100, 10_000, 10**7)]
    assert values == sorted(values)
    assert values[0] == 0
    assert values[-1] == pytest.approx(math.log(2), abs=1e-3)


def test_a_handful_of_rows_is_no_evidence() -> None:
    assert measures.log_ratio(50, 1000, 1, 10) == 0
    assert measures.log_ratio(0, 10, 0, 10) == 0
    assert measures.log_ratio(5, 100, 0, 0) == 0


def test_no_clicks_at_all_is_far_away_but_finite() -> None:
    assert 2 < measures.log_ratio(50, 1000, 0, 1000) < 4


def test_rate_shift_worked_by_hand() -> None:
    # 0.4 and 0.6 of 100 each: pooled 0.5, error √(0.25 × 0.02) = 0.0707
    assert measures.rate_shift(0.4, 100, 0.6, 100) == pytest.approx(0.2 - 2 * 0.07071, abs=1e-4)
    assert measures.rate_shift(0.4, 100, 0.6, 0) == 0


def test_standardised_distance_worked_by_hand() -> None:
    # means 0.5 apart, variance 1, noise 1/100 + 1/100: √(0.25 − 0.02) = 0.4796
    zero, moved = np.zeros(2), np.array([0.3, 0.4])
    value = measures.standardised_distance(zero, 1.0, 100, moved, 1.0, 100)
    assert value == pytest.approx(math.sqrt(0.23))
    assert measures.standardised_distance(zero, 0.0, 1, zero, 0.0, 1) == 0


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
