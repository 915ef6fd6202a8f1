from datetime import date, timedelta

from tasks.drift.compare import ColumnDrift, DriftReport
from tasks.drift.trigger import (
    Always,
    Cadence,
    ChampionFacts,
    DayScore,
    Drift,
    Performance,
    Rule,
    Trigger,
    decide_retrain,
)

DAY = date(2026, 3, 10)
CHAMPION = ChampionFacts("v3", date(2026, 3, 8))
CALM = ColumnDrift("category", "JS distance", 0.04, 0.1, False, "sports: 13 %, was 12 %")
QUIET = ColumnDrift("hour", "JS distance", 0.05, 0.25, False, "hour 7: 5 %, was 4 %")
MOVED = ColumnDrift("category", "JS distance", 0.31, 0.1, True, "sports: 31 %, was 12 %")


def decide(
    *rules: Rule,
    champion: ChampionFacts | None = CHAMPION,
    columns: list[ColumnDrift] | None = None,
    record: list[DayScore] | None = None,
) -> Trigger:
    drift = None if columns is None else DriftReport("2026-03-08", columns)
    return decide_retrain(day=DAY, rules=rules, champion=champion, drift=drift, record=record or [])


def scores(
    *aucs: float | None, error: float | None = None, zero_shot: float = 0.6
) -> list[DayScore]:
    """The last one is today's."""
    days = [DAY - timedelta(days=back) for back in range(len(aucs) - 1, -1, -1)]
    return [DayScore(day, auc, zero_shot, error) for day, auc in zip(days, aucs, strict=True)]


def test_no_champion_means_retrain() -> None:
    assert decide(Drift(), champion=None) == Trigger(True, ["no champion yet"])


def test_always_retrains() -> None:
    assert decide(Always(), Cadence(9)) == Trigger(True, ["every day"])


def test_a_champion_as_old_as_the_cadence_retrains() -> None:
    reason = "champion v3 has seen nothing for 2 days, cadence 2 days"
    assert decide(Cadence(2)) == Trigger(True, [reason])


def test_a_younger_champion_waits_and_says_how_long() -> None:
    reason = "champion v3 has seen nothing for 2 days, cadence 3 days"
    assert decide(Cadence(3)) == Trigger(False, [reason])


def test_drift_names_the_columns_and_what_moved() -> None:
    reason = "category drifted: JS distance 0.31 of 0.1 (sports: 31 %, was 12 %)"
    assert decide(Drift(), columns=[MOVED, QUIET]) == Trigger(True, [reason])


def test_no_drift_names_the_column_nearest_to_its_threshold() -> None:
    reason = "no drift: most JS distance 0.04 of 0.1 (category)"
    assert decide(Drift(), columns=[QUIET, CALM]) == Trigger(False, [reason])


def test_fewer_columns_than_needed_do_not_retrain() -> None:
    reason = "drift in 1 of the 2 columns needed, most JS distance 0.31 of 0.1 (category)"
    assert decide(Drift(min_columns=2), columns=[MOVED, QUIET]) == Trigger(False, [reason])


def test_without_earlier_days_drift_says_so() -> None:
    reason = "no drift: there are no earlier days to compare with"
    assert decide(Drift()) == Trigger(False, [reason])
    assert decide(Drift(), columns=[]).reasons == ["no drift: no column can be compared"]


def test_a_fall_in_auc_beyond_the_limit_retrains() -> None:
    trigger = decide(Performance(0.02), record=scores(0.68, 0.66, 0.64))
    assert trigger == Trigger(
        True,
        [
            "AUC 0.640, mean of 2 days before 0.670 (zero-shot 0.600, before 0.600): "
            "fell by 0.030, allowed 0.02"
        ],
    )


def test_a_fall_within_its_noise_does_not_retrain() -> None:
    trigger = decide(Performance(0.02), record=scores(0.68, 0.66, 0.64, error=0.02))
    # 2 √(0.02² + (0.02 √2 / 2)²) = 0.049
    assert not trigger.retrain
    assert trigger.reasons[0].endswith("fell by 0.030, within its noise of 0.049")


def test_a_rise_in_auc_is_told() -> None:
    (reason,) = decide(Performance(0.02), record=scores(0.66, 0.68)).reasons
    assert reason.endswith("mean of 1 day before 0.660 (zero-shot 0.600, before 0.600): "
                           "rose by 0.020, a fall of 0.02 is allowed")  # fmt: skip


def test_only_the_window_counts() -> None:
    record = scores(0.9, 0.66, 0.66)
    assert not decide(Performance(0.02, window_days=1), record=record).retrain
    assert decide(Performance(0.02, window_days=2), record=record).retrain


def test_days_that_rank_nothing_are_not_judged() -> None:
    assert decide(Performance(0.02), record=scores(0.7, None)).reasons == [
        "AUC not judged: the day ranks nothing"
    ]
    assert decide(Performance(0.02), record=scores(None, 0.7)).reasons == [
        "AUC not judged: no scored day in the 7 days before"
    ]


def test_one_rule_that_speaks_is_enough_and_alone_gives_the_reason() -> None:
    trigger = decide(Cadence(9), Drift(), columns=[MOVED])
    assert trigger.retrain and len(trigger.reasons) == 1


def test_when_none_speaks_all_say_why() -> None:
    trigger = decide(Cadence(9), Drift(), Performance(0.1), columns=[CALM], record=scores(0.6))
    assert not trigger.retrain and len(trigger.reasons) == 3
