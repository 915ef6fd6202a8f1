import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift import mix
from tasks.drift.mix import MAX_VALUES, Mix, Slates, combine, count

COUNTS = st.dictionaries(st.sampled_from([f"v{n}" for n in range(30)]), st.integers(1, 60))


def alone(rows: int) -> Slates:
    return Slates(np.arange(rows), np.ones(rows))


def mixed(counts: dict[str, int], capacity: int = MAX_VALUES) -> Mix:
    values = list(counts)
    codes = np.repeat(np.arange(len(values)), list(counts.values())).astype(np.int64)
    return count(values, codes, np.ones(len(codes)), alone(len(codes)), capacity=capacity)


def as_dict(one: Mix) -> dict[str, float]:
    return dict(zip(one.values, one.rows.tolist(), strict=True))


@given(st.lists(COUNTS, min_size=1, max_size=5))
def test_sums_are_exact_while_values_are_few(parts: list[dict[str, int]]) -> None:
    together: dict[str, float] = {}
    for part in parts:
        for value, rows in part.items():
            together[value] = together.get(value, 0) + rows
    merged = combine([mixed(part) for part in parts])

    assert as_dict(merged) == together
    assert (merged.error, merged.others) == (0, 0)
    assert merged.clicks.tolist() == merged.rows.tolist()


@given(st.lists(COUNTS, min_size=2, max_size=6), st.integers(1, 9), st.integers(0, 99))
def test_a_frequent_value_is_low_by_at_most_a_share_of_all(
    parts: list[dict[str, int]], capacity: int, seed: int
) -> None:
    # merged in any tree: pairs are drawn until one is left
    draw = np.random.default_rng(seed)
    left = [mixed(part, capacity) for part in parts]
    while len(left) > 1:
        one, other = (left.pop(draw.integers(len(left))) for _ in range(2))
        left.append(combine([one, other]))
    (merged,) = left
    kept, total = as_dict(merged), sum(sum(part.values()) for part in parts)

    assert len(kept) <= capacity
    assert merged.total == total
    assert merged.error <= total / (capacity + 1)
    for value in {value for part in parts for value in part}:
        true = sum(part.get(value, 0) for part in parts)
        assert kept.get(value, 0) <= true <= kept.get(value, 0) + merged.error
        assert value in kept or true <= total / (capacity + 1)


@given(st.lists(COUNTS, min_size=3, max_size=3), st.permutations(range(3)))
def test_merging_is_associative_and_commutative(
    parts: list[dict[str, int]], order: list[int]
) -> None:
    a, b, c = (mixed(part) for part in parts)
    first, second, third = ([a, b, c][n] for n in order)
    left, right = combine([combine([a, b]), c]), combine([first, combine([second, third])])
    assert as_dict(left) == as_dict(right)
    np.testing.assert_allclose(left.spread, right.spread)


def test_what_is_taken_off_keeps_the_click_rate() -> None:
    values, rows = [f"v{n}" for n in range(4)], [60, 40, 30, 20]
    codes = np.repeat(np.arange(4), rows).astype(np.int64)
    clicked = np.concatenate([np.arange(n) < n // 10 for n in rows]).astype(float)
    kept = count(values, codes, clicked, alone(150), capacity=2)

    # the third, 30, is taken off all
    assert as_dict(kept) == {"v0": 30, "v1": 10}
    assert (kept.clicks / kept.rows).tolist() == pytest.approx([0.1, 0.1])
    assert (kept.error, kept.others, kept.total) == (30, 110, 150)


def test_spread_is_how_much_the_rows_vary_from_draw_to_draw() -> None:
    draw = np.random.default_rng(2)
    # impressions of 5 rows, three in four of one value only
    slates = Slates(np.repeat(np.arange(400), 5), np.full(400, 5.0))
    seen, said = [], []
    for _ in range(300):
        single, whole = draw.integers(0, 2, (400, 5)), draw.integers(0, 2, (400, 1))
        codes = np.where(draw.random((400, 1)) < 0.75, whole, single).ravel()
        one = count(["a", "b"], codes, np.zeros(2000), slates)
        seen.append(one.rows[0])
        said.append(one.spread[0])
    assert np.mean(said) == pytest.approx(np.var(seen), rel=0.2)
    assert np.mean(said) > 3 * 2000 * 0.25


def test_a_value_that_every_impression_has_once_does_not_vary() -> None:
    slates = Slates(np.repeat(np.arange(50), 4), np.full(50, 4.0))
    places = count(list("1234"), np.tile(np.arange(4), 50), np.zeros(200), slates)
    assert places.spread == pytest.approx(np.zeros(4), abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 60), st.integers(0, 9))
def test_a_sample_of_the_impressions_tells_their_spread(values: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    impressions = 3 * mix.SAMPLED
    slates = Slates(np.repeat(np.arange(impressions), 2), np.full(impressions, 2.0))
    codes = np.repeat(draw.integers(0, values, impressions), 2)
    rows = np.bincount(codes, minlength=values).astype(float)
    share = rows / rows.sum()
    # both rows of an impression have one value: twice the variance of rows by themselves
    np.testing.assert_allclose(slates.spread(codes, rows), 2 * rows * (1 - share), rtol=0.3)


def test_rows_without_a_value_are_not_counted() -> None:
    some = count(["a"], np.array([0, -1, 0]), np.array([0.0, 1.0, 1.0]), alone(3))
    assert (as_dict(some), some.clicks.tolist(), some.total) == ({"a": 2}, [1], 2)
    assert count([], np.array([-1]), np.zeros(1), alone(1)).total == 0
