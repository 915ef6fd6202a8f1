"""Which earlier days say what is usual."""

from datetime import date, timedelta

from tasks.drift.past import CHAMPION, HISTORY_DAYS, ROLLING, PastDay, Seen, past_day, usual_days

FIRST = date(2026, 3, 2)
KEY = ("category", "JS distance")


def day(number):
    return FIRST + timedelta(days=number)


def history(days, drifted=(), key=KEY, reference=ROLLING):
    return [
        PastDay(day(n), {reference: {key: Seen(n / 1000, 0.01, n in drifted)}}) for n in range(days)
    ]


def numbers(past, reference=ROLLING, key=KEY):
    return [(each.day - FIRST).days for each in usual_days(past, reference, key)]


def test_days_that_drifted_do_not_say_what_is_usual():
    assert numbers(history(20, drifted={4, 17})) == [n for n in range(20) if n not in (4, 17)]


def test_what_drifts_on_a_third_of_the_recent_days_has_become_usual():
    assert len(numbers(history(60, drifted=set(range(40, 49))))) == 51
    assert len(numbers(history(60, drifted=set(range(40, 50))))) == 60


def test_against_the_champion_the_newest_two_weeks_may_be_a_slow_drift():
    assert numbers(history(40, reference=CHAMPION), CHAMPION) == list(range(26))
    drifted = set(range(10, 40))
    assert numbers(history(40, drifted, reference=CHAMPION), CHAMPION) == list(range(10))


def test_only_the_newest_days_count():
    assert numbers(history(200)) == list(range(200 - HISTORY_DAYS, 200))


def test_shares_of_nulls_that_were_not_measured_did_not_move():
    nulls = ("surface", "null share")
    assert [each.value for each in usual_days(history(3), ROLLING, nulls)] == [0.0] * 3
    assert usual_days(history(3), ROLLING, ("surface", "JS distance")) == []


def test_a_report_is_read_back_without_references_that_lack_weekdays():
    seen = {"value": 0.2, "noise": 0.01, "p": 0.3, "drifted": True}
    column = {"column": KEY[0], "measure": KEY[1], "against": {ROLLING: seen, CHAMPION: seen}}
    report = {
        "columns": [column],
        "references": {ROLLING: {"days": 4, "period": ""}, CHAMPION: {"days": 5, "period": ""}},
    }
    assert past_day(FIRST, report) == PastDay(FIRST, {CHAMPION: {KEY: Seen(0.2, 0.01, True)}})


def test_a_report_from_before_there_were_references_says_nothing():
    old = {"columns": [{"column": "hour", "measure": "JS distance", "value": 0.1}]}
    assert past_day(FIRST, old).against == {}
