import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_portals import MONDAY, parsed, small, world_of

from tasks.simulator.delivery import MALFORMED, json_lines, plan_delivery
from tasks.simulator.simulate import generate_day

WORLD = world_of(small(), 1)
HOUR = np.repeat(np.sort(np.arange(100) * 24 // 100), 5)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.4), st.floats(0, 0.25), st.floats(0, 0.25), st.integers(0, 9))
def test_planted_numbers_are_the_shares_and_no_row_is_two_of_them(late, twice, damaged, seed):
    chosen = small(late_share=late, duplicate_share=twice, malformed_share=damaged, seed=seed)
    delivery = plan_delivery(world_of(chosen, 1), HOUR)
    is_late = delivery.hour > HOUR
    repeated, broken = delivery.repeat_hour >= 0, delivery.damage > 0
    assert is_late.sum() == round(late * 100) * 5
    assert repeated.sum() == round(twice * 500)
    assert broken.sum() == sum(delivery.malformed().values()) == round(damaged * 500)
    assert (is_late.astype(int) + repeated + broken).max() <= 1
    assert max(delivery.malformed().values()) - min(delivery.malformed().values()) <= 1


def test_late_slates_are_whole_and_come_with_the_next_day():
    delivery = plan_delivery(world_of(small(late_share=0.4), 1), HOUR)
    delay = (delivery.hour - HOUR).reshape(-1, 5)
    assert (delay == delay[:, :1]).all()
    assert set(delay.ravel().tolist()) == {0, 6, 24}
    assert ((delivery.hour >= 24) == (delivery.hour > HOUR)).all()


def test_a_repeat_comes_in_the_same_or_the_next_file():
    delivery = plan_delivery(world_of(small(duplicate_share=0.2), 1), HOUR)
    repeated = delivery.repeat_hour >= 0
    assert set((delivery.repeat_hour - HOUR)[repeated].tolist()) == {0, 1}


@pytest.fixture(scope="module")
def rows():
    return generate_day(small(), first_day=MONDAY, number=1).slice(0, 60)


def test_a_line_says_what_its_row_says(rows):
    for row, line in zip(rows.to_pylist(), json_lines(rows, np.zeros(60, np.int8)), strict=True):
        del row["click_probability"]
        if row["dwell_seconds"] is None:
            del row["dwell_seconds"]
        row["event_time"] = row["event_time"].isoformat(timespec="milliseconds")[:-6] + "Z"
        assert json.loads(line.as_py()) == row
        assert line.as_py().endswith("}\n")


def test_each_kind_of_damage_is_that_and_nothing_else(rows):
    whole = json_lines(rows, np.zeros(60, np.int8)).to_pylist()
    damage = (np.arange(60) % 6).astype(np.int8)
    for row, line, kind in zip(whole, json_lines(rows, damage).to_pylist(), damage, strict=True):
        good, bad = parsed(row), parsed(line)
        assert line.count("\n") == 1
        if kind == 0:
            assert line == row
        elif MALFORMED[kind - 1] == "not a JSON object":
            assert bad is None and row.startswith(line.rstrip("\n"))
        else:
            what = MALFORMED[kind - 1].split()[0]
            assert good | {what: bad.get(what)} == bad | {what: bad.get(what)}
            assert bad.get(what) in (None, "maybe", "yesterday, 25:61")


def test_no_rows_are_no_lines(rows):
    assert json_lines(rows.slice(0, 0), np.zeros(0, np.int8)).equals(pa.array([], pa.string()))
