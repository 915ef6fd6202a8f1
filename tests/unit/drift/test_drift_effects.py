import math

import pytest
from days import after, day_rows, profiled

from tasks.drift.effects import Effect, measure_effects
from tasks.drift.profile import Profile


def effect(reference: Profile, current: Profile, column: str, measure: str = "") -> Effect:
    (found,) = [
        each
        for each in measure_effects(reference, current)
        if each.column == column and measure in ("", each.measure)
    ]
    return found


def test_what_is_left_of_an_effect_beyond_noise() -> None:
    assert Effect("c", "m", 0.5, 0.3, "").shift == pytest.approx(0.4)
    assert Effect("c", "m", 0.2, 0.3, "").shift == 0


def test_equal_shifts_are_equal_at_any_number_of_rows() -> None:
    moved = (0.4, 0.2, 0.2, 0.2)
    shifts = [
        effect(
            profiled(day_rows(rows, slate=1)),
            profiled(day_rows(rows, seed=1, slate=1, mix=moved), after(1)),
            "category",
        ).shift
        for rows in (2_000, 20_000, 400_000)
    ]
    assert shifts == pytest.approx([shifts[-1]] * 3, rel=0.25)


def test_noise_is_what_two_days_of_one_world_are_apart() -> None:
    days = [profiled(day_rows(1000, seed=n, slate=1), after(n)) for n in range(40)]
    for column in ("category", "hour", "click_rate"):
        pairs = [effect(days[n], days[n + 1], column) for n in range(0, 40, 2)]
        apart = math.sqrt(sum(each.value**2 for each in pairs) / len(pairs))
        assert apart == pytest.approx(pairs[0].noise, rel=0.35), column
        assert sum(each.chance < 0.05 for each in pairs) <= 4
