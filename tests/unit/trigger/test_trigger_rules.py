"""What each rule says, and in which words."""

from datetime import timedelta

import pytest
from facts import CHAMPION, DAY, HOURS, SPORTS, drifted, make_facts, scores

from tasks.trigger.opinions import Facts, Opinion, ask
from tasks.trigger.rules import (
    Always,
    Amount,
    Cadence,
    Drift,
    Performance,
    Probe,
    Rule,
    name_of,
)

MOVED = "category drifted (sports: 31 % of candidates, was 12 %)"


def opinion(rule: Rule, facts: Facts | None = None) -> Opinion:
    return ask(rule, facts or make_facts(), CHAMPION)


def test_always_speaks():
    assert opinion(Always()) == Opinion("always", True, "every day")


@pytest.mark.parametrize(("days", "spoke"), [(2, True), (3, False)])
def test_a_champion_as_old_as_the_cadence_is_told_with_its_age(days, spoke):
    words = f"champion v3 has seen nothing for 2 days, cadence {days} days"
    assert opinion(Cadence(every_days=days)) == Opinion(f"cadence {days} d", spoke, words)


@pytest.mark.parametrize(("rows", "spoke"), [(40_000, True), (40_001, False)])
def test_as_many_rows_as_the_amount_speak(rows, spoke):
    words = f"40,000 rows since champion v3 was trained, amount {rows:,}"
    assert opinion(Amount(min_rows=rows)) == Opinion(f"amount {rows:,}", spoke, words)


def test_drift_names_the_columns_and_what_moved():
    found = opinion(Drift(), make_facts(drift=drifted([SPORTS, HOURS])))
    assert found == Opinion("drift", True, f"{MOVED}; hour drifted (hour 7: 9 %, was 4 %)")


def test_no_drift_says_how_much_was_compared():
    found = opinion(Drift(), make_facts(drift=drifted([SPORTS], [])))
    assert found == Opinion("drift", False, "no drift in any of 11 columns")


def test_fewer_columns_than_needed_do_not_speak():
    found = opinion(Drift(min_columns=2), make_facts(drift=drifted([SPORTS])))
    assert not found.spoke
    assert found.words == "drift in 1 of the 2 columns needed (category)"


def test_a_column_that_drifted_in_two_ways_is_one_column():
    missing = SPORTS._replace(words="9 % missing, was 1 %")
    found = opinion(Drift(min_columns=2), make_facts(drift=drifted([SPORTS, missing])))
    assert found.words == "drift in 1 of the 2 columns needed (category)"
    both = opinion(Drift(), make_facts(drift=drifted([SPORTS, missing]))).words
    assert both == f"{MOVED}; category drifted (9 % missing, was 1 %)"


def test_without_earlier_days_drift_says_so():
    for days in ([], drifted(None)):
        found = opinion(Drift(), make_facts(drift=days))
        assert not found.spoke
        assert found.words == "no drift: there are no earlier days to compare with"


@pytest.mark.parametrize(
    ("days", "spoke", "words"),
    [
        (([SPORTS], [], [SPORTS]), True, f"drift on 2 of the last 3 days: {MOVED}"),
        (([], [], [SPORTS]), False, f"drift on 1 of the last 3 days, 2 needed: {MOVED}"),
        # Two of three, but not the newest: what was, is over.
        (([SPORTS], [SPORTS], []), False, "no drift in any of 11 columns"),
        # The first of these lies before the window.
        (
            ([SPORTS], [], [], [SPORTS]),
            False,
            f"drift on 1 of the last 3 days, 2 needed: {MOVED}",
        ),
        # A day that is missing is a day without drift.
        ((None, None, [SPORTS]), False, f"drift on 1 of the last 3 days, 2 needed: {MOVED}"),
    ],
)
def test_k_of_n_days_must_drift_the_newest_one_included(days, spoke, words):
    found = opinion(Drift(days=2, window_days=3), make_facts(drift=drifted(*days)))
    assert found == Opinion("drift 2 of 3 d", spoke, words)


def test_a_fall_beyond_the_limit_and_beyond_chance_speaks():
    found = opinion(Performance(max_drop=0.02), make_facts(record=scores(0.67, 0.68, 0.67, 0.62)))
    # Mean 0.6733, variance 0.005²·4/3 = 1/30000, t₂(0.95) = 2.92:
    # 0.0533 − 2.92 · √(1/30000 · 4/3) = 0.0339
    assert found.spoke
    assert found.words == (
        "AUC 0.620, mean of 3 days before 0.673 (zero-shot 0.600, before 0.600): "
        "fell by 0.053 (at least 0.034), allowed 0.02"
    )


def test_a_fall_that_the_days_themselves_make_does_not_speak():
    found = opinion(Performance(max_drop=0.02), make_facts(record=scores(0.72, 0.66, 0.63, 0.64)))
    assert not found.spoke
    assert "fell by 0.030, and chance alone makes up to 0.15" in found.words


def test_a_fall_that_the_users_make_does_not_speak():
    calm = scores(0.67, 0.67, 0.67, 0.64, error=0.001)
    loud = scores(0.67, 0.67, 0.67, 0.64, error=0.02)
    rule = Performance(max_drop=0.02)
    assert opinion(rule, make_facts(record=calm)).spoke
    assert not opinion(rule, make_facts(record=loud)).spoke


def test_a_sure_fall_that_is_small_is_allowed():
    found = opinion(Performance(max_drop=0.02), make_facts(record=scores(0.7, 0.7, 0.7, 0.69)))
    assert not found.spoke
    assert found.words.endswith("fell by 0.010, a fall of 0.02 is allowed")


def test_a_rise_in_auc_is_told():
    found = opinion(Performance(max_drop=0.02), make_facts(record=scores(0.66, 0.66, 0.66, 0.68)))
    assert found.words.endswith("rose by 0.020, a fall of 0.02 is allowed")


def test_only_the_window_counts():
    record = scores(0.9, 0.9, 0.9, 0.66, 0.66, 0.66, 0.66)
    assert not opinion(Performance(max_drop=0.02, window_days=3), make_facts(record=record)).spoke
    assert "mean of 6 days" in opinion(Performance(max_drop=0.02), make_facts(record=record)).words


def test_days_that_rank_nothing_are_not_judged():
    rule = Performance(max_drop=0.02)
    found = opinion(rule, make_facts(record=scores(0.7, 0.7, 0.7, None)))
    assert found.words == "AUC not judged: the day ranks nothing"
    found = opinion(rule, make_facts(record=scores(None, 0.7, 0.7, 0.5)))
    assert found.words == "AUC not judged: 2 days scored in the 7 days before, 3 needed"
    assert not found.spoke


def test_a_day_later_than_the_one_asked_about_says_nothing():
    later = [score._replace(day=DAY + timedelta(days=1)) for score in scores(0.1)]
    record = [*scores(0.7, 0.7, 0.7, 0.7), *later]
    assert "rose by 0.000" in opinion(Performance(max_drop=0.02), make_facts(record=record)).words


def test_zero_shot_is_beside_it_only_where_every_day_has_it():
    record = scores(0.7, 0.7, 0.7, 0.7, zero_shot=None)
    assert "zero-shot" not in opinion(Performance(max_drop=0.1), make_facts(record=record)).words


def test_the_knobs_that_make_another_rule_make_another_name():
    rules = [
        Always(),
        Cadence(every_days=3),
        Amount(min_rows=20_000),
        Drift(),
        Drift(min_columns=2),
        Drift(days=2, window_days=3),
        Performance(max_drop=0.02),
        Probe(),
        Probe(shots=64),
    ]
    assert [name_of(rule) for rule in rules] == [
        "always",
        "cadence 3 d",
        "amount 20,000",
        "drift",
        "drift, 2 cols",
        "drift 2 of 3 d",
        "performance 0.02",
        "probe 256",
        "probe 64",
    ]
