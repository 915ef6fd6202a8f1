"""The verdict: large enough to matter and unlikely on a usual day, over all columns together."""

from datetime import date, timedelta

import numpy as np
import pytest

from tasks.drift.effects import Effect
from tasks.drift.past import CHAMPION, ROLLING, PastDay, Seen, past_day
from tasks.drift.thresholds import check_thresholds, threshold_of
from tasks.drift.verdict import LEARNING_FACTOR, ColumnDrift, DriftReport, Measured, judge
from tasks.errors import ConfigError

FIRST = date(2026, 3, 2)
CATEGORY = ("category", "JS distance")
CLICKS = ("click_rate", "log ratio")


def history(days, size=0.02, noise=0.02, keys=(CATEGORY,), references=(ROLLING, CHAMPION)):
    """Days on which nothing happened: effects of four degrees of freedom around `size`."""
    draw = np.random.default_rng(5)
    return [
        PastDay(
            FIRST + timedelta(days=n),
            {
                name: {
                    key: Seen(size * (draw.chisquare(4) / 4) ** 0.5, noise, False) for key in keys
                }
                for name in references
            },
        )
        for n in range(days)
    ]


def effect(value, noise=0.02, key=CATEGORY, degrees=10.0):
    return Effect(*key, value, noise, f"{key[0]} moved by {value:g}", degrees)


def verdict(past, *, thresholds=None, false_alarm_days=60, days=7, **measured):
    references = {
        name: Measured(f"the {name} days", days, effects) for name, effects in measured.items()
    }
    day = FIRST + timedelta(days=len(past))
    return judge(
        day, references, past, thresholds=thresholds or {}, false_alarm_days=false_alarm_days
    )


def flagged(report):
    return [(each.column, each.reference) for each in report.columns if each.drifted]


def test_a_large_and_unusual_shift_has_drifted_and_says_against_what():
    report = verdict(history(40), rolling=[effect(0.12)], champion=[effect(0.03)])
    (column,) = report.columns
    assert flagged(report) == [("category", "rolling")]
    assert column.words == "category moved by 0.12"
    assert column.value == pytest.approx((0.12**2 - column.usual["size"] ** 2) ** 0.5, rel=1e-4)
    assert column.p < 1e-4 and column.usual["high"] < 0.05
    assert [column.against[name]["drifted"] for name in (ROLLING, CHAMPION)] == [True, False]


def test_a_gradual_drift_shows_against_the_champion_only():
    report = verdict(history(40), rolling=[effect(0.03)], champion=[effect(0.12)])
    assert flagged(report) == [("category", "champion")]


def test_what_is_unusual_but_does_not_matter_is_no_drift():
    report = verdict(history(40, size=0.002, noise=0.001), rolling=[effect(0.04, noise=0.001)])
    assert report.columns[0].p < 1e-6 and not report.drifted
    lower = {"category": 0.03}
    assert verdict(
        history(40, size=0.002, noise=0.001), thresholds=lower, rolling=[effect(0.04, noise=0.001)]
    ).drifted


def test_what_is_large_but_usual_is_no_drift():
    report = verdict(history(40, size=0.15), rolling=[effect(0.2)])
    assert report.columns[0].value > report.columns[0].threshold
    assert not report.drifted


def test_what_sampling_explains_on_a_small_day_is_no_drift():
    past = history(40)
    assert not verdict(past, rolling=[effect(0.12, noise=0.11)]).drifted
    assert verdict(past, rolling=[effect(0.12, noise=0.01)]).drifted


@pytest.mark.parametrize("rows", [1e4, 1e5, 1e6, 1e7])
def test_the_verdict_on_a_shift_is_the_same_at_any_number_of_rows(rows):
    noise = 2 / rows**0.5
    calm = history(40, size=(0.01**2 + noise**2) ** 0.5, noise=noise)
    found = [
        verdict(calm, rolling=[effect((shift**2 + noise**2) ** 0.5, noise)]).drifted
        for shift in (0.04, 0.09)
    ]
    assert found == [False, True]


def test_while_learning_only_a_large_shift_beyond_sampling_counts():
    few = history(4)
    limit = LEARNING_FACTOR * threshold_of(*CATEGORY, {})
    report = verdict(few, rolling=[effect(0.9 * limit)])
    assert report.learning == "learning what is usual: day 5 of 14"
    assert not report.drifted and report.columns[0].threshold == pytest.approx(limit)
    assert verdict(few, rolling=[effect(1.1 * limit)]).drifted
    assert not verdict(few, rolling=[effect(1.5 * limit, noise=limit)]).drifted
    assert verdict(history(14), rolling=[effect(0.9 * limit)]).learning == ""


def test_a_reference_without_all_weekdays_is_judged_as_while_learning():
    report = verdict(history(40), days=3, rolling=[effect(0.12)])
    assert report.columns[0].usual is None and not report.drifted


def test_new_items_are_not_judged_while_memory_is_filling():
    new = effect(0.9, key=("new_items", "share shift"))
    assert not verdict([], rolling=[new]).drifted
    known = history(40, keys=(("new_items", "share shift"),))
    assert verdict(known, rolling=[new]).drifted


def test_a_slow_drift_does_not_teach_what_is_usual():
    # a point a day for ten days, against a champion that has not seen any of it
    past = history(45)
    for step in range(1, 11):
        report = verdict(past, rolling=[effect(0.03)], champion=[effect(0.012 * step)])
        past.append(past_day(FIRST + timedelta(days=len(past)), report.to_json()))
    assert flagged(report) == [("category", "champion")]
    assert report.columns[0].usual["high"] < 0.05


def test_alarms_on_quiet_days_are_as_rare_as_is_asked():
    draw = np.random.default_rng(6)
    keys = [(name, "JS distance") for name in ("category", "surface", "position", "candidates")]
    keys += [CLICKS, ("new_items", "share shift")]
    past = history(60, size=0.2, noise=0.01, keys=keys, references=(ROLLING,))
    alarms = 0
    for _ in range(400):
        today = [effect(0.2 * (draw.chisquare(4) / 4) ** 0.5, 0.01, key) for key in keys]
        alarms += verdict(past, false_alarm_days=10, rolling=today).drifted
    # SPENT / 10 is 0.05, with a standard error of 0.011
    assert 0.01 < alarms / 400 < 0.1


def test_a_report_is_json_and_a_column_is_made_of_it_again():
    report = verdict(history(40), rolling=[effect(0.12)], champion=[effect(0.03)])
    document = report.to_json()
    assert document["drifted"] and document["reference"] == "the champion days"
    assert document["references"] == {
        "rolling": {"period": "the rolling days", "days": 7},
        "champion": {"period": "the champion days", "days": 7},
    }
    columns = [ColumnDrift(**column) for column in document["columns"]]
    again = DriftReport(
        document["reference"], columns, document["references"], document["learning"]
    )
    assert again == report


def test_thresholds_that_mean_nothing_are_refused_all_at_once():
    with pytest.raises(ConfigError) as caught:
        check_thresholds({"categroy": 0.1, "hour": -1.0})
    first, second = str(caught.value).splitlines()
    assert "no 'categroy' (did you mean category?): it may name category, surface" in first
    assert second == "drift.thresholds.hour is -1.0: make it greater than 0"
