import numpy as np
import pyarrow as pa
import pytest
from days import CATALOGUE, after, day_rows, profiled
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift.compare import DEFAULT_THRESHOLDS, ColumnDrift, DriftReport, compare
from tasks.drift.profile import ItemEmbeddings, Profile, merge
from tasks.errors import ConfigError

SHIFTED = (0.4, 0.2, 0.2, 0.2)
"""Ten points of candidates moved from sports to travel."""


def embeddings(encoder: str = "mini") -> ItemEmbeddings:
    """Each category has its own corner, with items scattered around it."""
    corner = np.repeat(np.eye(4), 100, axis=0)
    scatter = np.random.default_rng(7).normal(scale=0.3, size=corner.shape)
    vectors = (corner + scatter).astype(np.float32)
    return ItemEmbeddings(CATALOGUE["item_id"].combine_chunks(), vectors, encoder)


def held(reference: Profile, current: Profile, **thresholds: float) -> DriftReport:
    return compare(reference, current, thresholds=thresholds)


def column(report: DriftReport, name: str, measure: str | None = None) -> ColumnDrift:
    (found,) = [
        shift
        for shift in report.columns
        if shift.column == name and (shift.measure == measure or measure is None)
    ]
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 99))
def test_a_day_has_not_drifted_from_itself(rows: int, seed: int) -> None:
    profile = profiled(day_rows(rows, seed=seed), embeddings=embeddings())
    report = held(profile, profile)

    assert not report.drifted
    assert [shift.value for shift in report.columns] == [0.0] * len(report.columns)


def test_days_of_the_same_world_rarely_alarm() -> None:
    days = [profiled(day_rows(2000, seed=n), after(n), embeddings=embeddings()) for n in range(60)]
    alarms = [held(merge(days[n : n + 7]), days[n + 7]).drifted for n in range(53)]
    assert sum(alarms) == 0


def test_ten_points_of_candidates_moved_alarm_and_are_named() -> None:
    reference = profiled(day_rows(40_000))
    report = held(reference, profiled(day_rows(20_000, seed=1, mix=SHIFTED), after(1)))
    category = column(report, "category")

    assert report.drifted and category.drifted
    assert "travel: 20 % of candidates, was " in category.words
    assert "sports: 20 % of candidates, was 3" in category.words
    assert [shift.column for shift in report.columns if shift.drifted] == ["category"]


def test_the_effect_size_does_not_grow_with_the_rows() -> None:
    def effects(rows: int) -> dict[str, tuple[float, float]]:
        before = profiled(day_rows(rows, slate=1))
        calm = profiled(day_rows(rows, seed=1, slate=1), after(1))
        moved = profiled(day_rows(rows, seed=2, slate=1, mix=SHIFTED, click_rate=0.15), after(1))
        reports = held(before, calm), held(before, moved)
        return {
            name: (column(reports[0], name).value, column(reports[1], name).value)
            for name in ("category", "click_rate")
        }

    few, many = effects(1_000), effects(1_000_000)
    for name, (calm, moved) in many.items():
        assert few[name][0] == calm == 0
        assert moved > DEFAULT_THRESHOLDS[name]
        # what sampling explains is taken off the few: their effect is smaller, never larger
        assert 0.5 * moved < few[name][1] < 1.1 * moved


def test_a_doubled_click_rate_alarms_and_names_figures() -> None:
    report = held(profiled(day_rows()), profiled(day_rows(seed=1, click_rate=0.1), after(1)))
    shift = column(report, "click_rate")

    assert shift.drifted and shift.value == pytest.approx(np.log(2), abs=0.2)
    assert shift.words.startswith("10 % clicked, was ")


def test_the_segment_whose_clicks_moved_is_named() -> None:
    reference, rows = profiled(day_rows()), day_rows(seed=1)
    travel = np.char.startswith(np.asarray(rows["item_id"]).astype(str), "travel")
    labels = np.where(travel, np.arange(len(travel)) % 2, rows["label"].to_numpy())
    current = profiled(rows.set_column(5, "label", pa.array(labels, pa.int8())), after(1))
    shift = column(held(reference, current), "clicks_by_category")
    assert shift.drifted and shift.words.startswith("travel: 5")


def test_every_item_new_is_drift_only_where_that_is_unusual() -> None:
    first = profiled(day_rows(2000, first_item=80))
    usual = profiled(day_rows(4000, seed=1, first_item=60), after(1), before=first)
    steady = profiled(day_rows(4000, seed=2, first_item=20), after(2), before=usual)
    halted = profiled(day_rows(4000, seed=3, first_item=80), after(3), before=usual)

    assert column(held(merge([first, usual]), steady), "new_items").value < 0.05
    shift = column(held(merge([first, usual]), halted), "new_items")
    assert shift.drifted
    assert shift.words.startswith("0 % of candidates from items unseen before, was ")


def test_the_mean_embedding_follows_the_mix() -> None:
    reference = profiled(day_rows(40_000), embeddings=embeddings())
    rows = day_rows(40_000, seed=1, mix=SHIFTED)
    shift = column(
        held(reference, profiled(rows, after(1), embeddings=embeddings())), "item_embedding"
    )

    assert shift.value == pytest.approx(0.137, abs=0.03)
    assert shift.drifted


def test_embeddings_of_different_encoders_are_not_compared() -> None:
    first = profiled(day_rows(200), embeddings=embeddings("mini"))
    second = profiled(day_rows(200), after(1), embeddings=embeddings("large"))
    assert "item_embedding" not in {shift.column for shift in held(first, second).columns}


def test_a_column_that_goes_missing_alarms() -> None:
    rows = day_rows(seed=1, surface=pa.nulls(20_000, pa.string()))
    shift = column(held(profiled(day_rows()), profiled(rows, after(1))), "surface", "null share")

    assert shift.drifted
    assert shift.words == "100 % missing, was 0 %"


def test_longer_slates_show_in_candidates_and_positions() -> None:
    report = held(profiled(day_rows(slate=20)), profiled(day_rows(seed=1, slate=40), after(1)))
    drifted = {shift.column: shift.words for shift in report.columns if shift.drifted}

    assert set(drifted) == {"candidates", "position"}
    assert "position from 21: 50 % of candidates, was 0 %" in drifted["position"]
    assert "candidates above 20: 100 % of impressions, was 0 %" in drifted["candidates"]


def test_slower_readers_show_in_dwell_times() -> None:
    slow = pa.array(np.random.default_rng(9).lognormal(3.7, 1, 20_000))
    fast = pa.array(np.random.default_rng(8).lognormal(3, 1, 20_000))
    report = held(
        profiled(day_rows(dwell_seconds=fast)),
        profiled(day_rows(seed=1, dwell_seconds=slow), after(1)),
    )
    assert column(report, "dwell_seconds").drifted


def test_columns_that_both_days_lack_are_left_out() -> None:
    empty = {
        "surface": pa.nulls(200, pa.string()),
        "dwell_seconds": pa.nulls(200, pa.float64()),
        "position": pa.nulls(200, pa.int32()),
    }
    days = [profiled(day_rows(200, seed=n, **empty), after(n)) for n in (0, 1)]
    names = [shift.column for shift in held(*days).columns]
    assert not {"surface", "dwell_seconds", "position", "history_length"} & set(names)


def test_the_report_has_the_shape_of_the_days_record() -> None:
    days = [profiled(day_rows(200, seed=n), after(n)) for n in range(3)]
    document = held(merge(days[:2]), days[2], click_rate=9.0).to_json()

    assert (document["drifted"], document["reference"]) == (False, "2026-03-01 to 2026-03-02")
    assert set(document["columns"][0]) == {
        "column", "measure", "value", "threshold", "drifted", "words",
    }  # fmt: skip
    (clicks,) = [entry for entry in document["columns"] if entry["column"] == "click_rate"]
    assert clicks["threshold"] == 9.0


def test_thresholds_that_mean_nothing_are_refused_all_at_once() -> None:
    day = profiled(day_rows(20))
    with pytest.raises(ConfigError) as caught:
        held(day, day, categroy=0.1, hour=-1.0)
    first, second = str(caught.value).splitlines()
    assert "no 'categroy' (did you mean category?): it may name category, surface" in first
    assert second == "drift.thresholds.hour is -1.0: make it greater than 0"
