from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.interactions.schema import HISTORY, UTC_TIME
from tasks.recommender.context import Context
from tasks.recommender.rankers.prompt import lines_of
from tasks.recommender.rankers.questions import Composer, tell
from tasks.recommender.rankers.tokens import Tokens
from tests.unit.recommender.conftest import NOON
from tests.unit.recommender.rankers.conftest import TEMPLATE

LINES = lines_of(TEMPLATE)
HISTORY_SHOWN = [("goal", 1), ("soup", 0), ("bank", 1), ("salt", 0), ("team", 1)]


def one_user(history, candidates, titles=None) -> tuple[pa.Table, Context]:
    """One slate; an item's id is its title unless `titles` says otherwise."""
    names = {*(name for name, _ in history), *candidates}
    titles = {name: name for name in names} | (titles or {})
    catalogue = pa.table({"item_id": list(titles), "title": list(titles.values())})
    logged = [{"item_id": name, "label": label} for name, label in history]
    rows = pa.table(
        {
            "event_time": pa.array([NOON] * len(candidates), UTC_TIME),
            "impression_id": ["s"] * len(candidates),
            "user_id": ["u"] * len(candidates),
            "item_id": list(candidates),
            "history": pa.array([logged] * len(candidates), HISTORY),
        }
    )
    return rows, Context(catalogue, None, None, None)


@pytest.fixture
def tokens(base_of) -> Tokens:
    return Tokens(base_of("masked").tokenizer)


def texts(tokens, told, limit=500, **more) -> list[str]:
    found, ids, of_row = Composer(LINES, tokens, limit, **more).compose(told)
    assert max(map(len, ids)) <= limit
    return [found[row] for row in of_row]


def test_a_text_tells_likes_and_dislikes_apart_oldest_first(tokens):
    told = tell(*one_user(HISTORY_SHOWN, ["oven", "rate"]), tokens, history=10)
    start = "liked: goal; bank; team.\ndisliked: soup; salt.\n"
    end = "\ngood?\nanswer:"
    assert texts(tokens, told) == [f"{start}next: oven{end}", f"{start}next: rate{end}"]


def test_the_newest_likes_and_dislikes_are_told(tokens):
    told = tell(*one_user(HISTORY_SHOWN, ["oven"]), tokens, history=1)
    assert texts(tokens, told)[0].startswith("liked: team.\ndisliked: salt.\nnext")
    told = tell(*one_user(HISTORY_SHOWN, ["oven"]), tokens, history=0)
    assert texts(tokens, told)[0].startswith("next: oven")


def test_a_line_without_titles_is_left_out(tokens):
    told = tell(*one_user([("goal", 1)], ["oven"]), tokens, history=3)
    assert texts(tokens, told)[0].startswith("liked: goal.\nnext: oven")


def test_an_item_without_a_title_is_no_history_and_an_unknown_candidate(tokens):
    rows, context = one_user(HISTORY_SHOWN, ["oven"], {"oven": "", "bank": ""})
    told = tell(rows, context, tokens, history=10)
    assert texts(tokens, told)[0].startswith(
        "liked: goal; team.\ndisliked: soup; salt.\nnext: unknown\n"
    )


def test_instruction_and_examples_come_first(tokens):
    told = tell(*one_user([], ["oven"]), tokens, history=1)
    found = texts(tokens, told, instruction="the user", examples=["one", "two"])
    assert found == ["the user\n\none\n\ntwo\n\nnext: oven\ngood?\nanswer:"]


def test_examples_go_before_history_and_the_oldest_history_goes_first(tokens):
    told = tell(*one_user(HISTORY_SHOWN, ["oven"]), tokens, history=10)
    examples = ["the user good"] * 2
    limits = range(60, 6, -1)
    seen = []
    for limit in limits:
        text = texts(tokens, told, limit=limit, examples=examples)[0]
        titles = [name for name, _ in HISTORY_SHOWN if name in text]
        assert "next: oven\ngood?\nanswer:" in text
        assert titles == [name for name, _ in HISTORY_SHOWN][len(HISTORY_SHOWN) - len(titles) :]
        seen.append((text.count("the user good"), len(titles)))
    assert list(dict.fromkeys(seen)) == [
        (2, 5), (1, 5), (0, 5), (0, 4), (0, 3), (0, 2), (0, 1), (0, 0)
    ]  # fmt: skip


def test_a_longer_candidate_leaves_less_room_in_its_own_text_alone(tokens):
    rows, context = one_user(HISTORY_SHOWN, ["oven", "rate"], {"rate": "rate " * 12})
    told = tell(rows, context, tokens, history=10)
    short, long = texts(tokens, told, limit=30)
    assert "goal" in short
    assert "goal" not in long
    assert long.count("rate") == 12


def test_a_question_that_cannot_fit_is_an_error(tokens):
    told = tell(*one_user(HISTORY_SHOWN, ["oven"]), tokens, history=10)
    with pytest.raises(ModelError, match=r"question of 7 tokens exceeds the 6 .*max_tokens"):
        Composer(LINES, tokens, 6).compose(told)


def test_rows_of_equal_text_share_one(tokens):
    rows, context = one_user(HISTORY_SHOWN, ["oven", "rate", "oven"])
    found, ids, of_row = Composer(LINES, tokens, 99).compose(tell(rows, context, tokens, history=2))
    assert (len(found), len(ids), of_row.tolist()) == (2, 2, [0, 1, 0])


WORDS = st.sampled_from(["goal", "bank of salt", "soup", "xyz", "rate fund"])


@settings(max_examples=40, deadline=None)
@given(
    history=st.lists(st.tuples(WORDS, st.integers(0, 1)), max_size=6),
    candidates=st.lists(WORDS, min_size=1, max_size=4),
    limit=st.integers(13, 60),
)
def test_texts_are_as_long_as_they_may_be(base_of_masked, history, candidates, limit):
    tokens = base_of_masked
    rows, context = one_user(history, candidates)
    told = tell(rows, context, tokens, history=9)
    found = texts(tokens, told, limit=limit)
    whole = texts(tokens, told)
    for text, full, candidate in zip(found, whole, candidates, strict=True):
        assert f"next: {candidate}\n" in text
        assert text == full or len(tokens.ids([full])[0]) > limit


@pytest.fixture(scope="module")
def base_of_masked(masked_folder):
    from tasks.recommender.base import load_base

    return Tokens(load_base(str(masked_folder), device="cpu", precision="fp32").tokenizer)


def test_slates_and_rows_keep_their_own_history(tokens):
    first, context = one_user([("goal", 1)], ["oven"])
    second, _ = one_user([("bank", 1)], ["oven"])
    second = second.set_column(1, "impression_id", pa.array(["other"]))
    catalogue = pa.table({"item_id": ["goal", "bank", "oven"], "title": ["goal", "bank", "oven"]})
    rows = pa.concat_tables([second, first])
    told = tell(rows, replace(context, catalogue=catalogue), tokens, history=3)
    np.testing.assert_array_equal(told.slates.order, [0, 1])
    assert [text.split("\n")[0] for text in texts(tokens, told)] == ["liked: bank.", "liked: goal."]
