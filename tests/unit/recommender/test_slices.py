from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.errors import ModelError
from tasks.interactions.schema import HISTORY
from tasks.recommender import slices
from tasks.recommender.slices import groups_of, slices_of


@pytest.fixture
def plain(rows):
    """Of each row its item, hour and topic, worked out from the table in plain Python."""
    hours = [time.replace(minute=0) for time in rows["event_time"].to_pylist()]
    items = rows["item_id"].to_pylist()
    return [(item, hour, int(item[1:]) % 3) for item, hour in zip(items, hours, strict=True)]


def test_an_item_is_cold_until_an_hour_that_showed_it_is_complete(rows, context, plain):
    first = {}
    for item, hour, _ in plain:
        first.setdefault(item, hour)
    cold = [first[item] >= hour for item, hour, _ in plain]
    found = slices_of(rows, context)
    assert found["cold items"].tolist() == cold
    assert found["warm items"].tolist() == [not each for each in cold]
    assert 0 < sum(cold) < len(cold)


def test_a_user_without_a_history_is_new_and_an_empty_slice_is_left_out(rows, context):
    assert "new users" not in slices_of(rows, context)
    half = rows["history"].to_pylist()
    half[len(half) // 2 :] = [[]] * (len(half) - len(half) // 2)
    place = rows.column_names.index("history")
    found = slices_of(rows.set_column(place, "history", pa.array(half, HISTORY)), context)
    assert found["new users"].tolist() == [not each for each in half]


def test_categories_are_those_of_the_rows_items_with_most_clicks_first(rows, context, plain):
    found = slices_of(rows, context)
    names = [name for name in found if name.startswith("category ")]
    topics = ["sport", "money", "food"]
    label = np.array(rows["label"].to_pylist())
    clicks = [sum(label[found[name]]) for name in names]
    assert clicks == sorted(clicks, reverse=True) and sum(clicks) == label.sum()
    for name in names:
        topic = topics.index(name.removeprefix("category "))
        assert found[name].tolist() == [of_item == topic for *_, of_item in plain]


def test_membership_follows_the_order_of_the_rows(rows, context):
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = slices_of(rows.take(pa.array(order)), context)
    for name, member in slices_of(rows, context).items():
        assert shuffled[name].tolist() == member[order].tolist()


def test_the_head_is_the_fifth_that_was_shown_most_before(rows, context):
    # one item was shown a thousand times in the hour before the rows begin; nothing else was
    first = pc.min(rows["event_time"])
    known = context.item_hours.slice(0, 1)
    before = pc.subtract(first, pa.scalar(timedelta(hours=1), pa.duration("us")))
    columns = {
        "hour": pa.array([pc.floor_temporal(before, unit="hour").as_py()], known["hour"].type),
        "item_id": rows["item_id"][:1],
        "impressions": pa.array([1000], known["impressions"].type),
    }
    for name, column in columns.items():
        known = known.set_column(known.column_names.index(name), name, column)
    found = slices_of(rows, replace(context, item_hours=known))
    is_it = [item == rows["item_id"][0].as_py() for item in rows["item_id"].to_pylist()]
    assert found["head items"].tolist() == is_it
    assert found["tail items"].tolist() == [not each for each in is_it]


def test_a_category_with_hardly_a_click_is_no_slice(rows, context, monkeypatch):
    monkeypatch.setattr(slices, "MIN_SHARE", 0.34)
    assert sum(name.startswith("category ") for name in slices_of(rows, context)) < 3


def test_groups_are_told_apart_by_what_was_asked(rows, context, plain):
    surfaces = ["home", "article", None] * len(rows)
    contexts = ['{"country": "de"}', '{"country": 7}', "no object", "[1]", None] * len(rows)
    rows = rows.append_column("surface", pa.array(surfaces[: len(rows)]))
    rows = rows.append_column("context", pa.array(contexts[: len(rows)]))
    order = np.random.default_rng(0).permutation(len(rows))
    found = groups_of(
        rows.take(pa.array(order)), context, ["category", "surface", "context.country", "age"]
    )
    assert list(found) == [
        *(f"category {topic}" for topic in ("food", "money", "sport")),
        "surface article",
        "surface home",
        "context.country 7",
        "context.country de",
        "age cold",
        "age warm",
    ]
    assert found["surface home"].tolist() == (order % 3 == 0).tolist()
    assert found["context.country 7"].tolist() == (order % 5 == 1).tolist()
    sport = [topic == 0 for *_, topic in plain]
    assert found["category sport"].tolist() == [sport[row] for row in order]


def test_kinds_that_overlap_slices_are_the_same_rows(rows, context):
    found, groups = slices_of(rows, context), groups_of(rows, context, ["popularity", "tenure"])
    assert groups["popularity head"].tolist() == found["head items"].tolist()
    assert groups["tenure returning"].tolist() == found["returning users"].tolist()


def test_a_column_that_was_not_logged_makes_no_group(rows, context):
    assert "surface" not in rows.column_names
    assert groups_of(rows, context, ["surface", "context.country"]) == {}


def test_an_unknown_kind_of_group_is_refused(rows, context):
    with pytest.raises(ModelError, match="cannot be grouped by 'gender'"):
        groups_of(rows, context, ["gender"])
