"""Each kind of shift does what it says, from its day on, and drift measures notice it."""

from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from small_portals import MONDAY, shares_of, world_of

from tasks.drift.effects import measure_effects
from tasks.drift.past import ROLLING
from tasks.drift.profile import profile_day
from tasks.drift.verdict import Measured, judge
from tasks.simulator.settings import Shift, SimulatorSettings
from tasks.simulator.simulate import generate_day
from tasks.simulator.vocabulary import EVENT, TOPICS

BEGINS = 3


@cache
def day(number, *shifts):
    """A day's rows with their category, and its catalogue."""
    settings = SimulatorSettings(shifts=shifts)
    rows = generate_day(settings, first_day=MONDAY, number=number)
    items = world_of(settings, number).items
    catalogue = pa.table(
        {
            "item_id": [f"n{item}" for item in items.number],
            "category": [TOPICS[topic].topic for topic in items.topic],
        }
    )
    category = dict(
        zip(*(catalogue[name].to_pylist() for name in catalogue.column_names), strict=True)
    )
    names = [category[item] for item in rows["item_id"].to_pylist()]
    return rows.append_column("category", pa.array(names)), catalogue, items


def rows_of(number, *shifts):
    return day(number, *shifts)[0]


def drifted(*shifts):
    """The columns that drift flags on the day the shifts begin, against two days before."""
    profiles = []
    for number in (BEGINS - 1, BEGINS):
        rows, catalogue, _ = day(number, *shifts)
        rows = rows.append_column("history", pa.nulls(rows.num_rows))
        profiles.append(
            profile_day(rows, world_of(SimulatorSettings(), number).day, catalogue=catalogue)
        )
    measured = {ROLLING: Measured("the day before", 1, measure_effects(*profiles))}
    report = judge(profiles[1].days[0], measured, [], thresholds={}, false_alarm_days=60)
    return {column.column for column in report.columns if column.drifted}


def test_nothing_drifts_where_nothing_is_planted():
    assert drifted() == set()


@pytest.mark.parametrize("strength", [0.1, 0.3])
def test_category_mix_gives_its_strength_of_the_candidates_to_one_category(strength):
    shift = Shift("category_mix", BEGINS, strength)
    before, now = (shares_of(rows_of(BEGINS, *s)["category"].to_pylist()) for s in ((), (shift,)))
    moved = {name: now[name] - before[name] for name in before}
    lifted = max(moved, key=moved.get)
    # what the category has of the other candidates stays its own: s + (1 − s) q − q
    assert moved[lifted] == pytest.approx(strength * (1 - before[lifted]), abs=0.015)
    assert all(change < 0 for name, change in moved.items() if name != lifted)


def test_two_category_mixes_lift_two_categories():
    first, second = Shift("category_mix", BEGINS, 0.2), Shift("category_mix", BEGINS, 0.3)
    before = shares_of(rows_of(BEGINS)["category"].to_pylist())
    now = shares_of(rows_of(BEGINS, first, second)["category"].to_pylist())
    assert sum(now[name] - before[name] > 0.05 for name in before) == 2


@pytest.mark.parametrize("strength", [-0.5, 0.2])
def test_click_rate_multiplies_every_click_probability(strength):
    plain, shifted = rows_of(BEGINS), rows_of(BEGINS, Shift("click_rate", BEGINS, strength))
    probability = plain["click_probability"].to_numpy()
    np.testing.assert_allclose(
        shifted["click_probability"].to_numpy(), np.minimum(probability * (1 + strength), 1)
    )
    assert plain.drop_columns(["label", "dwell_seconds", "click_probability"]).equals(
        shifted.drop_columns(["label", "dwell_seconds", "click_probability"])
    )


def test_new_topic_opens_a_category_that_nobody_had_seen():
    shift = Shift("new_topic", BEGINS, 0.4)
    opened = TOPICS[SimulatorSettings().topics].topic
    assert opened not in shares_of(rows_of(BEGINS - 1, shift)["category"].to_pylist())
    now = rows_of(BEGINS, shift)
    assert shares_of(now["category"].to_pylist())[opened] > 0.15
    births = day(BEGINS, shift)[2].topic[-SimulatorSettings().births_per_day :]
    # 150 births at 0.4 have a standard error of 0.04
    assert (births == SimulatorSettings().topics).mean() == pytest.approx(0.4, abs=0.12)


def test_two_new_topics_are_two():
    shifts = (Shift("new_topic", BEGINS), Shift("new_topic", BEGINS))
    before, now = (set(rows_of(BEGINS, *s)["category"].to_pylist()) for s in ((), shifts))
    assert now - before == {topic.topic for topic in TOPICS[12:14]}


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_new_vocabulary_puts_the_events_words_in_place_of_topical_ones(strength):
    shift = Shift("new_vocabulary", BEGINS, strength)
    _, _, items = day(BEGINS, shift)
    about = np.array(
        [bool(set(title.lower().replace(":", "").split()) & set(EVENT)) for title in items.title]
    )
    born = np.arange(len(about)) >= len(about) - SimulatorSettings().births_per_day
    assert not about[~born].any()
    assert about[born].mean() == pytest.approx(strength, abs=0.12)
    plain = day(BEGINS)[2]
    assert (items.topic == plain.topic).all() and (items.published == plain.published).all()


def test_position_mix_moves_slates_to_the_second_page():
    second = [
        (rows_of(BEGINS, *shifts)["position"].to_numpy() > 10).mean()
        for shifts in ((), (Shift("position_mix", BEGINS, 0.5),))
    ]
    # 10 % read the second page anyway; half of the others join them
    assert second == pytest.approx([0.1, 0.55], abs=0.04)


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("category_mix", "category"),
        ("new_topic", "category"),
        ("click_rate", "click_rate"),
        ("position_mix", "position"),
    ],
)
def test_drift_notices_a_shift_at_its_default_strength_on_its_first_day(kind, column):
    assert column in drifted(Shift(kind, BEGINS))


@pytest.mark.parametrize("kind", ["category_mix", "click_rate", "new_topic", "position_mix"])
def test_a_shift_stays(kind):
    before, later = (rows_of(BEGINS + 2, *shifts) for shifts in ((), (Shift(kind, BEGINS),)))
    assert not before.equals(later)
