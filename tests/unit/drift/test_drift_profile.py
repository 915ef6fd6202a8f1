from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from days import CATALOGUE, DAY, after, day_rows, profiled
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift.day_columns import UNKNOWN
from tasks.drift.predictions import summarise
from tasks.drift.profile import ItemEmbeddings, Profile, merge
from tasks.drift.table import PROFILES, VERSION, from_table, outdated, to_table
from tasks.errors import DriftError

EXACT = ["rows", "clicks", "impressions", "types"]


def embeddings(encoder: str = "mini") -> ItemEmbeddings:
    vectors = np.random.default_rng(5).normal(size=(CATALOGUE.num_rows, 4)).astype(np.float32)
    return ItemEmbeddings(CATALOGUE["item_id"].combine_chunks(), vectors, encoder)


def counts(profile: Profile, column: str, name: str = "rows") -> dict[str, float]:
    mix = profile.mixes[column]
    return dict(zip(mix.values, getattr(mix, name).tolist(), strict=True))


def assert_equal(first: Profile, second: Profile) -> None:
    for name in EXACT:
        assert getattr(first, name) == getattr(second, name), name
    assert first.mixes.keys() == second.mixes.keys()
    for column in first.mixes:
        for name in ("rows", "clicks"):
            assert counts(first, column, name) == pytest.approx(counts(second, column, name))
    assert first.numbers.keys() == second.numbers.keys()
    for column, one in first.numbers.items():
        other = second.numbers[column]
        assert (one.sketch.n, one.units) == (other.sketch.n, other.units)
        assert (one.total, one.squares) == pytest.approx((other.total, other.squares))
        ranks = [0.1, 0.5, 0.9]
        if one.sketch.exact:
            assert one.sketch.quantiles(ranks).tolist() == other.sketch.quantiles(ranks).tolist()
    for name in ("items", "users"):
        assert getattr(first, name).get_estimate() == getattr(second, name).get_estimate()


def test_a_small_day_is_counted_by_hand() -> None:
    history = [{"item_id": "news-1", "label": 1}]
    rows = pa.table(
        {
            "event_time": pa.array([datetime(2026, 3, 1, 23, 30, tzinfo=UTC)] * 3),
            "impression_id": ["a", "a", "b"],
            "user_id": ["u", "u", "v"],
            "item_id": ["news-1", "sports-2", "unheard-of"],
            "position": pa.array([1, 2, None], pa.int32()),
            "label": pa.array([0, 1, 0], pa.int8()),
            "surface": ["home", "home", None],
            "dwell_seconds": [None, 1.5, None],
            "history": [history * 2, history * 2, None],
            "context": ['{"device": "phone", "battery": 0.5}', '{"device": "phone"}', None],
        }
    )
    profile = profiled(rows, time_zone="Europe/Berlin")

    assert (profile.rows, profile.clicks, profile.impressions) == (3, 1, 2)
    # 1 of 2 and 0 of 1 clicked at a rate of 1/3: (1 - 2/3)² + (0 - 1/3)²
    assert profile.click_spread == pytest.approx(2 / 9)
    assert counts(profile, "category") == {UNKNOWN: 1, "news": 1, "sports": 1}
    assert counts(profile, "category", "clicks")["sports"] == 1
    assert counts(profile, "surface") == {"home": 2}
    # all rows of an impression have one surface: (2 - 2/3 × 2)² + (0 - 2/3)²
    assert counts(profile, "surface", "spread") == pytest.approx({"home": 8 / 9})
    assert counts(profile, "position") == {"1": 1, "2": 1}
    assert counts(profile, "position", "clicks") == {"1": 0, "2": 1}
    assert counts(profile, "hour") == {"0": 3}
    assert counts(profile, "context.device") == {"phone": 2}
    assert profile.types["position"] == {"number": 2, "null": 1}
    assert profile.types["dwell_seconds"] == {"number": 1, "null": 2}
    assert profile.types["history"] == {"array": 2, "null": 1}
    assert profile.types["context.battery"] == {"number": 1, "null": 2}
    numbers = {name: (each.sketch.n, each.mean) for name, each in profile.numbers.items()}
    assert numbers == {
        "candidates": (2, 1.5),
        "history_length": (1, 2.0),
        "dwell_seconds": (1, 1.5),
        "context.battery": (1, 0.5),
    }


def test_columns_that_a_producer_does_not_log_may_be_left_out() -> None:
    plain = day_rows(100, surface=pa.nulls(100, pa.string()))
    assert_equal(profiled(plain.drop_columns(["surface"])), profiled(plain))


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
    assert merged.text is not None and together.text is not None
    for name in ("rows", "total", "squares", "projected", "outer", "features"):
        pair = getattr(merged.text, name), getattr(together.text, name)
        np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-4, err_msg=name)
    assert merged.period == "2026-03-01 to 2026-03-02"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=3, max_size=3), st.integers(0, 99))
def test_merging_is_associative_and_commutative(sizes: list[int], seed: int) -> None:
    a, b, c = (
        profiled(
            day_rows(rows, seed=seed + n),
            after(n),
            embeddings=embeddings(),
            predicted={"7": summarise(np.full(rows, 0.1 + n / 9), np.zeros(rows))},
        )
        for n, rows in enumerate(sizes)
    )
    left, right = merge([merge([a, b]), c]), merge([merge([c, b]), a])
    assert_equal(left, right)
    assert left.text is not None and right.text is not None
    assert left.text.sample.hashes.tolist() == right.text.sample.hashes.tolist()
    np.testing.assert_allclose(left.text.features, right.text.features)
    np.testing.assert_allclose(left.predictions["7"].rows, right.predictions["7"].rows)


def test_distinct_ids_beyond_the_sketch_are_estimated_within_3_percent() -> None:
    rows = day_rows(60_000, slate=1, user_id=[f"u{n}" for n in range(60_000)])
    assert profiled(rows).users.get_estimate() == pytest.approx(60_000, rel=0.03)


def test_novelty_is_the_share_of_rows_never_shown_before() -> None:
    first = profiled(day_rows(4000, first_item=50))
    rows = day_rows(4000, seed=1)
    second = profiled(rows, after(1), before=first)
    unseen = sum(int(item.split("-")[1]) < 50 for item in rows["item_id"].to_pylist()) / 4000

    assert first.novelty["items"].share is None
    assert second.novelty["items"].share == pytest.approx(unseen)
    assert merge([first, second]).novelty["items"].share == second.novelty["items"].share


def test_novelty_of_more_ids_than_a_sketch_keeps_is_close() -> None:
    half = [f"u{n}" for n in range(40_000)]
    before = profiled(day_rows(40_000, slate=1, user_id=half))
    rows = day_rows(80_000, slate=1, user_id=half + [f"w{n}" for n in range(40_000)])
    assert profiled(rows, after(1), before=before).novelty["users"].share == pytest.approx(
        0.5, abs=0.03
    )


def test_novelty_of_a_small_day_after_many_ids_is_close() -> None:
    before = profiled(day_rows(100_000, slate=1, user_id=[f"u{n}" for n in range(100_000)]))
    half = [f"u{n}" for n in range(3000)] + [f"w{n}" for n in range(3000)]
    today = profiled(day_rows(6000, slate=1, user_id=half), after(1), before=before)
    assert today.novelty["users"].share == pytest.approx(0.5, abs=0.08)


def test_a_category_is_new_to_the_days_before() -> None:
    first = profiled(day_rows(1000, mix=(0.5, 0.5)))
    rows = day_rows(1000, seed=1, mix=(0.4, 0.3, 0.3))
    second = profiled(rows, after(1), before=first)
    finance = sum(item.startswith("finance") for item in rows["item_id"].to_pylist()) / 1000

    assert first.novelty["categories"].share is None
    assert second.novelty["categories"].share == pytest.approx(finance)


def test_encoders_are_not_mixed() -> None:
    days = [
        profiled(day_rows(100), embeddings=embeddings("mini")),
        profiled(day_rows(100), after(1), embeddings=embeddings("large")),
    ]
    assert merge(days).text is None
    assert merge([days[0], profiled(day_rows(100), after(1))]).text is None


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
    assert to_table(back, revision=2) == stored
    assert_equal(back, profile)
    assert (back.novelty, back.click_spread) == (profile.novelty, profile.click_spread)
    assert (back.text is not None) == embedded


def test_a_profile_of_everything_is_under_a_megabyte_and_survives() -> None:
    rows = 20_000
    draw = np.random.default_rng(1)
    contexts = [
        "{"
        + ",".join([f'"n{k}": {draw.random()}, "s{k}": "{draw.integers(9**9)}"' for k in range(9)])
        + "}"
        for _ in range(rows // 20)
    ]
    ids = [f"i{n}" for n in range(rows)]
    vectors = draw.normal(size=(rows, 384)).astype(np.float32)
    profile = profiled(
        day_rows(
            rows, user_id=[f"u{n}" for n in range(rows)], item_id=ids,
            surface=[f"s{n}" for n in range(rows)], position=pa.array(np.arange(rows), pa.int32()),
            context=np.repeat(contexts, 20), dwell_seconds=draw.lognormal(3, 1, rows),
        ),
        embeddings=ItemEmbeddings(pa.array(ids), vectors, "wide"),
        predicted={"3": summarise(draw.random(rows), draw.random(rows) < 0.1)},
    )  # fmt: skip
    stored = to_table(profile, 1)

    assert len(profile.mixes) + len(profile.numbers) == 5 + 2 + 16
    assert stored.nbytes < 1_000_000
    (back,) = from_table(stored)
    assert to_table(back, 1) == stored


def test_equal_rows_make_equal_bytes() -> None:
    rows = day_rows(700)
    stored = [to_table(profiled(rows, embeddings=embeddings()), revision=1) for _ in range(2)]
    assert stored[0] == stored[1]


def test_stored_profiles_come_back_oldest_first() -> None:
    tables = [to_table(profiled(day_rows(20), after(n)), 1) for n in (2, 0, 1)]
    days = [profile.days[0] for profile in from_table(pa.concat_tables(tables))]
    assert days == [DAY, after(1), after(2)]


def of_version(stored: pa.Table, version: int) -> pa.Table:
    return stored.set_column(2, PROFILES.field("version"), pa.array([version], pa.int32()))


def test_a_newer_version_of_the_table_is_refused() -> None:
    stored = to_table(profiled(day_rows(20)), 1)
    with pytest.raises(DriftError, match=rf"version {VERSION + 1}.*reads {VERSION}.*--force"):
        from_table(of_version(stored, VERSION + 1))


def test_a_day_with_an_older_profile_is_left_out() -> None:
    old, recent = (to_table(profiled(day_rows(20), after(n)), 1) for n in range(2))
    stored = pa.concat_tables([of_version(old, VERSION - 1), recent])

    assert [profile.days for profile in from_table(stored)] == [(after(1),)]
    assert outdated(stored) == [DAY]


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


def test_a_field_that_one_day_lacks_is_null_in_all_of_that_days_rows() -> None:
    with_age = profiled(day_rows(30, context=['{"age": 3}'] * 30))
    without = profiled(day_rows(50, context=['{"size": 3}'] * 50), after(1))
    assert merge([with_age, without]).types["context.age"] == {"number": 30, "null": 50}
    assert merge([without, profiled(day_rows(20), after(2))]).types["context.size"] == {
        "number": 50,
        "null": 20,
    }
