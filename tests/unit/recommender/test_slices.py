import numpy as np
import pyarrow as pa
import pytest

from tasks.interactions.schema import HISTORY
from tasks.recommender.slices import slices_of


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
