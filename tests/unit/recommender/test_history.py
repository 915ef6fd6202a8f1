from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tasks.interactions.schema import HISTORY, UTC_TIME
from tasks.recommender.history import MAX_HISTORY
from tasks.recommender.slates import group_rows

T0 = datetime(2026, 3, 1, 10, tzinfo=UTC)


def one_slate(history: list | None, minutes: int = 30) -> pa.Table:
    return pa.table(
        {
            "event_time": pa.array([T0 + timedelta(minutes=minutes)], UTC_TIME),
            "impression_id": ["s"],
            "user_id": ["u"],
            "item_id": ["x"],
            "history": pa.array([history], HISTORY),
        }
    )


def clicks(*at: tuple[str, str, int]) -> pa.Table:
    return pa.table(
        {
            "user_id": [user for user, _, _ in at],
            "item_id": [item for _, item, _ in at],
            "event_time": pa.array([T0 + timedelta(minutes=m) for _, _, m in at], UTC_TIME),
            "label": pa.array([1] * len(at), pa.int8()),
        }
    )


def newest_first(rows: pa.Table, past: pa.Table | None) -> list[str]:
    slates = group_rows(rows, past)
    return [slates.items[item].as_py() for item in slates.history[0] if item >= 0]


def test_a_logged_history_is_read_newest_first_with_its_dislikes():
    slates = group_rows(
        one_slate([{"item_id": "a", "label": 1}, {"item_id": "b", "label": 0}]), None
    )
    assert [slates.items[item].as_py() for item in slates.history[0]] == ["b", "a"]
    assert slates.liked[0].tolist() == [False, True]


def test_of_a_long_history_the_newest_entries_are_kept():
    logged = [{"item_id": f"h{n}", "label": 1} for n in range(MAX_HISTORY + 5)]
    found = newest_first(one_slate(logged), None)
    assert len(found) == MAX_HISTORY
    assert found[0] == f"h{MAX_HISTORY + 4}"


def test_without_a_logged_history_past_clicks_stand_in_and_only_of_completed_hours():
    past = clicks(("u", "a", -90), ("u", "b", -1), ("u", "running", 5), ("u", "future", 99))
    assert newest_first(one_slate(None), past) == ["b", "a"]


def test_clicks_of_other_users_are_no_history():
    assert newest_first(one_slate(None), clicks(("v", "a", -90), ("u", "b", -90))) == ["b"]


def test_a_logged_history_is_not_mixed_with_past_clicks():
    logged = [{"item_id": "a", "label": 1}]
    assert newest_first(one_slate(logged), clicks(("u", "b", -90))) == ["a"]
    assert newest_first(one_slate([]), clicks(("u", "b", -90))) == []
