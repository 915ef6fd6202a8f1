import json
import math

import numpy as np
import pyarrow as pa
from days import day_rows, profiled
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift.context import MAX_FIELDS, read_fields

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def fields(*contexts: str | None):
    return {field.name: field for field in read_fields(pa.chunked_array([pa.array(contexts)]))}


def test_each_field_is_a_column_by_its_type() -> None:
    read = fields(
        '{"device": "phone", "age": 30, "member": true}',
        '{"device": "tablet", "age": "unknown", "tags": [1]}',
        '{"device": null}',
        None,
    )
    assert read["context.device"].texts == ("phone", "tablet")
    assert read["context.device"].codes.tolist() == [0, 1, -1, -1]
    assert read["context.device"].types == {"string": 2, "null": 2}
    assert read["context.age"].types == {"number": 1, "string": 1, "null": 2}
    assert read["context.age"].numbers[0] == 30 and np.isnan(read["context.age"].numbers[1:]).all()
    assert read["context.member"].texts == ("true",)
    assert read["context.tags"].types == {"array": 1, "null": 3}


def test_what_is_no_object_is_one_value() -> None:
    read = fields("evening", "evening", "[1, 2]", "{broken")
    assert read["context"].texts == ("evening", "[1, 2]", "{broken")
    assert read["context"].codes.tolist() == [0, 0, 1, 2]


def test_a_number_of_any_length_is_read() -> None:
    assert math.isinf(fields(f'{{"n": 1{"0" * 400}}}')["context.n"].numbers[0])


def test_a_context_of_any_depth_is_read() -> None:
    assert fields("[" * 100_000)["context"].texts == ("[" * 100_000,)


def test_the_fields_of_most_rows_are_kept() -> None:
    rare = [f'{{"often": 1, "rare{n}": 1}}' for n in range(100)]
    read = fields(*rare)
    assert len(read) == MAX_FIELDS and "context.often" in read


@settings(max_examples=25, deadline=None)
@given(st.lists(st.none() | st.text(max_size=20) | JSON.map(json.dumps), min_size=1, max_size=9))
def test_any_text_can_be_profiled(contexts: list[str | None]) -> None:
    column = pa.array([contexts[n % len(contexts)] for n in range(40)], pa.string())
    profile = profiled(day_rows(40, slate=4, context=column))
    for name, types in profile.types.items():
        assert sum(types.values()) == 40, name
