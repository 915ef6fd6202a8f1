import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.recommender.learning.schedule import rate_factor
from tasks.recommender.recipe import Optimization

KINDS = ["constant", "linear", "cosine", "cyclical"]
settings = st.builds(
    Optimization,
    schedule=st.sampled_from(KINDS),
    warmup_share=st.floats(0, 1),
    floor_share=st.floats(0, 1),
    cycles=st.integers(1, 6),
)


def factors(total: int, optimization: Optimization) -> list[float]:
    return [rate_factor(step, total, optimization) for step in range(total + 1)]


@given(settings, st.integers(1, 200))
def test_a_factor_is_never_negative_and_never_above_the_peak(optimization, total):
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors(total, optimization))


@given(settings, st.integers(2, 200))
def test_the_warm_up_starts_near_0_and_ends_at_the_peak(optimization, total):
    rise = max(1, round(total * optimization.warmup_share))
    found = factors(total, optimization)
    assert found[0] == 1 / rise
    assert found[rise - 1] == 1
    assert found[:rise] == sorted(found[:rise])


@given(settings, st.integers(2, 200))
def test_all_but_the_constant_schedule_end_at_the_floor(optimization, total):
    end = rate_factor(10 * total, total, optimization)
    floor = 1.0 if optimization.schedule == "constant" else optimization.floor_share
    assert end == pytest.approx(floor, abs=1e-9)


@given(st.integers(1, 300), st.floats(0, 1))
def test_the_default_schedule_is_a_warm_up_and_a_line_to_a_tenth(total, share):
    rise = max(1, round(total * share))
    up = [(step + 1) / rise for step in range(rise)]
    down = [1 - 0.9 * step / max(1, total - rise) for step in range(total - rise)]
    found = factors(total, Optimization(warmup_share=share))[:total]
    assert found == pytest.approx(up + down, abs=1e-12)


def test_schedules_by_hand():
    # 10 steps, 2 of them warm-up, floor 0.2: p = (t - 2) / 8, so t = 6 is half way.
    def at(kind: str, step: int) -> float:
        knobs = Optimization(schedule=kind, warmup_share=0.2, floor_share=0.2, cycles=2)
        return rate_factor(step, 10, knobs)

    assert [at("linear", t) for t in (0, 1, 2, 6, 10)] == pytest.approx([0.5, 1, 1, 0.6, 0.2])
    assert [at("cosine", t) for t in (2, 4, 6, 10)] == pytest.approx([1, 0.88284, 0.6, 0.2], 1e-4)
    # Two cycles, the first of which rose in the warm-up: down, up and down in thirds of 8 steps.
    # p = 1/4 is x = 0.75, height 0.25; p = 1/2 is x = 1.5, height 0.5; p = 3/4 is x = 2.25, 0.75.
    assert [at("cyclical", t) for t in (2, 4, 6, 8)] == pytest.approx([1, 0.4, 0.6, 0.8])


@pytest.mark.parametrize("cycles", [1, 2, 5])
def test_a_cyclical_schedule_has_as_many_peaks_as_cycles(cycles):
    knobs = Optimization(schedule="cyclical", cycles=cycles, warmup_share=0.1, floor_share=0)
    found = [0.0, *factors(1000, knobs)]
    inner = zip(found, found[1:], found[2:], strict=False)
    # The peak that ends the warm-up lasts two steps, hence >=.
    assert sum(a < b >= c for a, b, c in inner) == cycles
