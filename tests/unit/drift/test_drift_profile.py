import dataclasses
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from days import CATALOGUE, DAY, after, day_rows, profiled
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift.profile import (
    MAX_VALUES,
    OTHER,
    UNKNOWN,
    ItemEmbeddings,
    Profile,
    bin_value,
    merge,
)
from tasks.drift.table import PROFILES, VERSION, from_table, to_table
from tasks.errors import DriftError

EXACT = ["rows", "clicks", "impressions", "counts", "clicks_by", "nulls"]


def embeddings(encoder: str = "mini") -> ItemEmbeddings:
    vectors = np.random.default_rng(5).normal(size=(CATALOGUE.num_rows, 4)).astype(np.float32)
    return ItemEmbeddings(CATALOGUE["item_id"].combine_chunks(), vectors, encoder)


def assert_equal(first: Profile, second: Profile) -> None:
    for name in EXACT:
        assert getattr(first, name) == getattr(second, name), name
    for name in ("items", "users"):
        assert getattr(first, name).get_estimate() == getattr(second, name).get_estimate()


def test_a_small_day_is_counted_by_hand() -> None:
    rows = pa.table(
        {
            "event_time": pa.array([datetime(2026, 3, 1, 23, 30, tzinfo=UTC)] * 3),
            "impression_id": ["a", "a", "b"],
            "user_id": ["u", "u", "v"],
            "item_id": ["news-1", "sports-2", "unheard-of"],
            "position": pa.array([1, 2, None], pa.int32()),
            "label": pa.array([0, 1, 0], pa.int8()),
            "surface": ["home", "home", None],
            "dwell_seconds": [None, 1.0, None],
        }
    )
    profile = profiled(rows, time_zone="Europe/Berlin")

    assert (profile.rows, profile.clicks, profile.impressions) == (3, 1, 2)
    assert profile.counts["category"] == {UNKNOWN: 1, "news": 1, "sports": 1}
    assert profile.clicks_by["category"]["sports"] == 1
    assert profile.counts["surface"] == {"home": 2}
    assert profile.counts["position"] == {"1": 1, "2": 1}
    assert profile.clicks_by["position"] == {"2": 1}
    assert profile.counts["hour"] == {"0": 3}
    assert profile.counts["candidates"] == {"1": 1, "2": 1}
    assert profile.nulls == {"position": 1, "surface": 1, "dwell_seconds": 2}
    (dwell,) = profile.counts["dwell_seconds"]
    assert bin_value(int(dwell)) == 1.0


def test_a_bin_holds_values_within_5_percent() -> None:
    seconds = np.array([0.0, 0.01, 0.5, 1.0, 17.3, 900.0, 86_400.0])
    profile = profiled(day_rows(7, dwell_seconds=seconds))
    lows = sorted(bin_value(int(number)) for number in profile.counts["dwell_seconds"])

    assert lows[0] == 0
    assert lows[1:] == pytest.approx(seconds[1:] / 1.025, rel=0.026)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 99))
def test_days_merged_are_the_profile_of_all_their_rows(first: int, second: int, seed: int) -> None:
    a, b = day_rows(first, seed=seed), day_rows(second, seed=seed + 1)
    b = b.set_column(1, "impression_id", pa.array([f"b{name}" for name in b["impression_id"]]))
    together = profiled(pa.concat_tables([a, b]), embeddings=embeddings())
    merged = merge(
        [profiled(a, embeddings=embeddings()), profiled(b, after(1), embeddings=embeddings())]
    )

    assert_equal(merged, together)
    assert merged.embedding is not None and together.embedding is not None
    np.testing.assert_allclose(merged.embedding.total, together.embedding.total, atol=1e-9)
    assert merged.embedding.squares == pytest.approx(together.embedding.squares)
    assert merged.embedding.rows == together.embedding.rows == merged.rows
    assert merged.period == "2026-03-01 to 2026-03-02"


def test_merging_does_not_depend_on_the_order() -> None:
    days = [profiled(day_rows(300, seed=n), after(n)) for n in range(3)]
    assert_equal(merge(days), merge([merge(days[1:]), days[0]]))


def test_distinct_ids_beyond_the_sketch_are_estimated_within_3_percent() -> None:
    rows = day_rows(60_000, slate=1, user_id=[f"u{n}" for n in range(60_000)])
    assert profiled(rows).users.get_estimate() == pytest.approx(60_000, rel=0.03)


def test_novelty_is_the_share_of_rows_never_shown_before() -> None:
    first = profiled(day_rows(4000, first_item=50))
    rows = day_rows(4000, seed=1)
    second = profiled(rows, after(1), before=first)
    unseen = sum(int(item.split("-")[1]) < 50 for item in rows["item_id"].to_pylist()) / 4000

    assert first.new_items.share is None
    assert second.new_items.share == pytest.approx(unseen)
    assert merge([first, second]).new_items.share == second.new_items.share


def test_novelty_of_more_ids_than_a_sketch_keeps_is_close() -> None:
    half = [f"u{n}" for n in range(40_000)]
    before = profiled(day_rows(40_000, slate=1, user_id=half))
    rows = day_rows(80_000, slate=1, user_id=half + [f"w{n}" for n in range(40_000)])
    assert profiled(rows, after(1), before=before).new_users.share == pytest.approx(0.5, abs=0.03)


def test_novelty_of_a_small_day_after_many_ids_is_close() -> None:
    before = profiled(day_rows(100_000, slate=1, user_id=[f"u{n}" for n in range(100_000)]))
    half = [f"u{n}" for n in range(3000)] + [f"w{n}" for n in range(3000)]
    today = profiled(day_rows(6000, slate=1, user_id=half), after(1), before=before)
    assert today.new_users.share == pytest.approx(0.5, abs=0.08)


def test_rare_values_beyond_the_limit_are_counted_together() -> None:
    rows = day_rows(3000, surface=[f"s{n}" if n < 2000 else "home" for n in range(3000)])
    counts = profiled(rows).counts["surface"]

    assert len(counts) == MAX_VALUES
    assert counts["home"] == 1000
    assert sum(counts.values()) == 3000
    assert counts[OTHER] == 2000 - (MAX_VALUES - 2)
    merged = merge([profiled(rows), profiled(rows, after(1))]).counts["surface"]
    assert sum(merged.values()) == 6000 and len(merged) == MAX_VALUES


def test_encoders_are_not_mixed() -> None:
    days = [
        profiled(day_rows(100), embeddings=embeddings("mini")),
        profiled(day_rows(100), after(1), embeddings=embeddings("large")),
    ]
    assert merge(days).embedding is None


def test_dictionary_columns_profile_as_plain_ones() -> None:
    rows = day_rows(500)
    encoded = rows.set_column(3, "item_id", rows["item_id"].dictionary_encode())
    assert_equal(profiled(encoded), profiled(rows))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2000), st.integers(0, 99), st.booleans())
def test_a_profile_survives_its_table(rows: int, seed: int, embedded: bool) -> None:
    profile = profiled(day_rows(rows, seed=seed), embeddings=embeddings() if embedded else None)
    stored = to_table(profile, revision=2)
    (back,) = from_table(stored)

    assert stored.schema == PROFILES
    assert stored["revision"].to_pylist() == [2]
    assert_equal(back, profile)
    assert dataclasses.replace(back.new_items) == profile.new_items
    if embedded:
        assert back.embedding is not None and profile.embedding is not None
        assert back.embedding.total.tolist() == profile.embedding.total.tolist()
    assert to_table(back, revision=2) == stored


def test_equal_rows_make_equal_bytes_under_a_megabyte() -> None:
    rows = day_rows(
        60_000, slate=1, user_id=[f"u{n}" for n in range(60_000)],
        item_id=[f"i{n}" for n in range(60_000)], surface=[f"s{n}" for n in range(60_000)],
    )  # fmt: skip
    stored = to_table(profiled(rows), revision=1)

    assert stored == to_table(profiled(rows), revision=1)
    assert stored.nbytes < 1_000_000


def test_stored_profiles_come_back_oldest_first() -> None:
    tables = [to_table(profiled(day_rows(20), after(n)), 1) for n in (2, 0, 1)]
    days = [profile.days[0] for profile in from_table(pa.concat_tables(tables))]
    assert days == [DAY, after(1), after(2)]


def test_another_version_of_the_table_is_refused() -> None:
    stored = to_table(profiled(day_rows(20)), 1)
    later = stored.set_column(2, PROFILES.field("version"), pa.array([VERSION + 1], pa.int32()))
    with pytest.raises(DriftError, match=rf"version {VERSION + 1}.*reads {VERSION}.*--force"):
        from_table(later)


def test_a_damaged_row_is_refused() -> None:
    stored = to_table(profiled(day_rows(20)), 1)
    for name, value in (("facts", "{}"), ("items", b"nonsense")):
        index = PROFILES.get_field_index(name)
        field = PROFILES.field(name)
        damaged = stored.set_column(index, field, pa.array([value], field.type))
        with pytest.raises(DriftError, match="damaged"):
            from_table(damaged)


def test_what_cannot_be_profiled_says_so() -> None:
    with pytest.raises(DriftError, match="no rows"):
        profiled(day_rows(20).slice(0, 0))
    with pytest.raises(DriftError, match="no profile"):
        merge([])
    day = profiled(day_rows(20))
    with pytest.raises(DriftError, match="2026-03-01 would count twice"):
        merge([day, day])
    with pytest.raises(DriftError, match="Only single days"):
        to_table(merge([day, profiled(day_rows(20), after(1))]), 1)
