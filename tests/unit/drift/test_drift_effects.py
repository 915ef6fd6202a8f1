import json
import math
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from days import CATALOGUE, after, day_rows, profiled

from tasks.drift.effects import Effect, measure_effects
from tasks.drift.predictions import summarise
from tasks.drift.profile import ItemEmbeddings, Profile, merge
from tasks.errors import DriftError

MOVED = (0.4, 0.2, 0.2, 0.2)
"""Ten points of candidates moved from sports to travel."""


def effect(reference: Profile, current: Profile, column: str, measure: str = "") -> Effect:
    (found,) = [
        each
        for each in measure_effects(reference, current)
        if each.column == column and measure in ("", each.measure)
    ]
    return found


def vectors(width: int = 16) -> ItemEmbeddings:
    drawn = np.random.default_rng(3).normal(size=(CATALOGUE.num_rows, width)).astype(np.float32)
    return ItemEmbeddings(CATALOGUE["item_id"].combine_chunks(), drawn, "mini")


@cache
def usual(seed: int = 0) -> Profile:
    return profiled(day_rows(40_000, seed=seed), after(-1 - seed), embeddings=vectors())


def replaced(rows: pa.Table, **columns: object) -> pa.Table:
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    return rows


def test_what_is_left_of_an_effect_beyond_noise() -> None:
    assert Effect("c", "m", 0.5, 0.3, "").shift == pytest.approx(0.4)
    assert Effect("c", "m", 0.2, 0.3, "").shift == 0
    assert Effect("c", "m", 1.96, 1.0, "").chance == pytest.approx(0.05, abs=1e-3)


def test_a_column_and_its_measure_name_one_effect() -> None:
    names = [(each.column, each.measure) for each in measure_effects(usual(), usual(1))]
    assert len(names) == len(set(names)) > 12


def test_a_day_is_not_apart_from_itself() -> None:
    assert {each.value for each in measure_effects(usual(), usual())} == {0.0}


def test_equal_shifts_are_equal_at_any_number_of_rows() -> None:
    shifts = [
        effect(
            profiled(day_rows(rows, slate=1)),
            profiled(day_rows(rows, seed=1, slate=1, mix=MOVED), after(1)),
            "category",
        ).shift
        for rows in (2_000, 20_000, 400_000)
    ]
    assert shifts == pytest.approx([shifts[-1]] * 3, rel=0.25)


COLUMNS = """category surface position hour dwell_seconds click_rate clicks_by_category
clicks_by_position volume"""


@pytest.mark.parametrize("slate", [1, 10])
def test_noise_is_what_two_days_of_one_world_are_apart(slate: int) -> None:
    """Whole impressions are drawn: their rows share an hour, and each has every position once."""
    days = [
        profiled(day_rows(4000 + n % 2 * 100, seed=n, slate=slate), after(n)) for n in range(60)
    ]
    pairs = [
        {
            each.column: each
            for each in measure_effects(days[n], days[n + 1])
            if each.measure != "null share"
        }
        for n in range(0, 60, 2)
    ]
    for column in COLUMNS.split():
        if column == "volume" or (slate == 1 and column.endswith("position")):
            continue  # not drawn: the days have the rows that the test gives them
        found = [pair[column] for pair in pairs]
        apart = math.sqrt(np.mean([each.value**2 for each in found]))
        noise = math.sqrt(np.mean([each.noise**2 for each in found]))
        assert apart == pytest.approx(noise, rel=0.3, abs=1e-3), column
        if noise > 1e-3:
            assert sum(each.chance < 0.05 for each in found) <= 5, column


def test_ten_points_of_candidates_are_named() -> None:
    found = effect(usual(), profiled(day_rows(seed=9, mix=MOVED)), "category")
    assert found.shift > 6 * found.noise
    assert found.words.startswith("sports: 20 % of candidates, was 31 %; travel: 20 % of cand")


def test_rare_values_are_compared_together() -> None:
    ids = [f"s{n}" for n in range(20_000)]
    days = [profiled(day_rows(seed=n, surface=ids if n else None or ids)) for n in range(2)]
    found = effect(*days, "surface")
    assert (found.value, found.words) == (0, "(others): 100 % of candidates, was 100 %")


def test_clicks_that_move_in_one_category_are_named_and_those_that_move_in_all_are_not() -> None:
    rows = day_rows(40_000, seed=5, click_rate=0.2)
    travel = np.char.startswith(np.asarray(rows["item_id"]).astype(str), "travel")
    labels = rows["label"].to_numpy()
    twice = replaced(
        rows, label=np.where(travel, np.arange(len(travel)) % 5 < 2, labels).astype("i1")
    )
    before = profiled(day_rows(40_000, seed=6, click_rate=0.1))

    alike = effect(before, profiled(rows), "clicks_by_category")
    moved = effect(before, profiled(twice), "clicks_by_category")
    assert effect(before, profiled(rows), "click_rate").value == pytest.approx(math.log(2), abs=0.1)
    assert alike.value < 2.5 * alike.noise
    assert moved.shift > 5 * moved.noise
    assert moved.words.startswith("travel: 39 % clicked, was ")


def test_clicks_that_move_to_one_position_are_named() -> None:
    rows = day_rows(40_000, seed=5)
    first = rows["position"].to_numpy() == 1
    labels = np.where(first, np.arange(len(first)) % 5 == 0, rows["label"].to_numpy())
    found = effect(
        usual(), profiled(replaced(rows, label=labels.astype("i1"))), "clicks_by_position"
    )
    assert found.shift > 4 * found.noise
    assert found.words.startswith("position 1: ")


def test_clicks_of_one_user_are_one_draw() -> None:
    """Impressions in which all or nothing is clicked vary more than rows by themselves."""
    rows = day_rows(4000, slate=20)
    whole = np.repeat(np.random.default_rng(1).random(200) < 0.05, 20).astype("i1")
    single = effect(profiled(rows), profiled(rows), "click_rate").noise
    together = profiled(replaced(rows, label=whole))
    # each impression counts as one row: √20 times the noise
    assert effect(together, together, "click_rate").noise > 3 * single


def test_twice_the_rows_are_a_volume_of_ln_2() -> None:
    week = merge([profiled(day_rows(10_000, seed=n), after(n)) for n in range(3)])
    found = effect(week, profiled(day_rows(20_000), after(5)), "volume")
    assert found.value == pytest.approx(math.log(2), abs=0.01)
    assert found.words == "20,000 candidates a day, was 10,000"


def test_a_category_that_no_day_had_is_new() -> None:
    first = profiled(day_rows(mix=(0.5, 0.5)))
    usual_day = profiled(day_rows(seed=1, mix=(0.5, 0.5)), after(1), before=first)
    today = profiled(day_rows(seed=2, mix=(0.5, 0.4, 0.1)), after(2), before=usual_day)
    found = effect(usual_day, today, "new_categories")
    assert found.value == pytest.approx(0.1, abs=0.02)
    assert found.words == "10 % of candidates from categories unseen before, was 0 %"


def test_longer_slates_and_histories_are_named() -> None:
    def day(slate: int, length: int) -> Profile:
        history = [[{"item_id": "a", "label": 1}] * (length + n % 3) for n in range(200)]
        rows = day_rows(
            200 * slate, slate=slate, history=list(np.repeat(np.array(history, object), slate))
        )
        return profiled(rows)

    longer = {each.column: each.words for each in measure_effects(day(20, 3), day(40, 9))}
    assert "candidates above 20: 100 % of impressions, was 0 %" in longer["candidates"]
    assert "history_length above 5: 100 % of impressions, was 0 %" in longer["history_length"]


def test_fields_of_the_context_are_columns() -> None:
    def day(phones: float, age: float, seed: int) -> Profile:
        draw = np.random.default_rng(seed)
        contexts = [
            json.dumps(
                {"device": "phone" if draw.random() < phones else "tablet", "age": draw.normal(age)}
            )
            for _ in range(1000)
        ]
        return profiled(day_rows(20_000, context=np.repeat(contexts, 20)))

    before = day(0.6, 40, 1)
    moved = {each.column: each for each in measure_effects(before, day(0.8, 43, 2))}
    calm = {each.column: each for each in measure_effects(before, day(0.6, 40, 3))}
    for column in ("context.device", "context.age"):
        assert moved[column].shift > 3 * moved[column].noise
        assert calm[column].chance > 0.01
    assert moved["context.device"].words.startswith("phone: 78 % of candidates, was 6")
    assert "context.age above 41" in moved["context.age"].words
    assert moved["context.age"].words.endswith("; mean 42.9, was 40")


def test_a_field_that_comes_or_goes_is_a_null_share() -> None:
    with_age = profiled(day_rows(1000, context=['{"age": 3}'] * 1000))
    without = profiled(day_rows(1000, context=['{"size": 3}'] * 1000))
    found = effect(with_age, without, "context.age", "null share")
    assert (found.value, found.words) == (1, "100 % missing, was 0 %")
    assert effect(with_age, without, "context.size", "null share").value == 1


def test_a_type_that_a_column_never_had_breaks_the_schema() -> None:
    contexts = ['{"age": 3}'] * 900 + ['{"age": "three"}'] * 100
    before = profiled(day_rows(1000, context=['{"age": 3}'] * 1000))
    found = effect(before, profiled(day_rows(1000, context=contexts)), "schema")
    assert found.value == pytest.approx(0.1)
    assert found.words == "context.age is string in 10 % of rows, was number"


def predicted(probability: float, rate: float, version: str, seed: int) -> Profile:
    draw = np.random.default_rng(seed)
    rows = day_rows(20_000, label=(draw.random(20_000) < rate).astype("i1"))
    odds = math.log(probability / (1 - probability)) + draw.normal(0, 0.5, 20_000)
    guess = 1 / (1 + np.exp(-odds))
    return profiled(rows, predicted={version: summarise(guess, rows["label"])})


def test_predictions_of_one_version_are_compared_and_calibration_of_any() -> None:
    before = predicted(0.1, 0.12, "3", 1)
    risen = measure_effects(before, predicted(0.2, 0.12, "3", 2))
    by_name = {each.column: each for each in risen}
    assert by_name["predictions"].shift > 5 * by_name["predictions"].noise
    assert by_name["calibration"].value == pytest.approx(math.log(2), abs=0.15)
    assert "clicks for each one expected, was 1." in by_name["calibration"].words

    others = {each.column: each for each in measure_effects(before, predicted(0.1, 0.12, "4", 3))}
    assert "predictions" not in others
    assert others["calibration"].chance > 0.01
    assert others["calibration_by_prediction"].chance > 0.01


def test_a_classifier_is_asked_only_on_request() -> None:
    def day(first: int, moved: float) -> Profile:
        ids = pa.array([f"n{first + n}" for n in range(400)])
        drawn = np.random.default_rng(first).normal(size=(400, 16)).astype(np.float32)
        drawn[:, 0] += moved
        known = ItemEmbeddings(ids, drawn, "mini")
        return profiled(day_rows(400, item_id=ids), embeddings=known)

    def asked(current: Profile) -> Effect:
        (found,) = [
            each
            for each in measure_effects(day(0, 0), current, classifier=True)
            if each.column == "item_classifier"
        ]
        return found

    assert asked(day(500, 0)).chance > 0.01
    found = asked(day(900, 1))
    assert found.value > 0.2 and found.chance < 1e-6
    assert (
        found.words
        == f"a classifier tells today's texts from those before with AUC {0.5 + found.value:.2f}"
    )
    # the same items on both sides are no evidence
    assert "item_classifier" not in {
        each.column for each in measure_effects(day(0, 0), day(0, 0), classifier=True)
    }
    assert "item_classifier" not in {
        each.column for each in measure_effects(day(0, 0), day(500, 1))
    }


def test_a_profile_without_rows_says_so() -> None:
    from dataclasses import replace

    with pytest.raises(DriftError, match="without rows"):
        measure_effects(replace(usual(), rows=0), usual())
