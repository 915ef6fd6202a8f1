"""What the rules are asked about, for the tests of what they answer."""

from collections.abc import Sequence
from datetime import date, timedelta

from tasks.trigger.opinions import ChampionFacts, DriftDay, Facts, Flag
from tasks.trigger.performance import DayScore

DAY = date(2026, 3, 10)
CHAMPION = ChampionFacts("v3", date(2026, 3, 8), rows_since=40_000)
SPORTS = Flag("category", "sports: 31 % of candidates, was 12 %")
HOURS = Flag("hour", "hour 7: 9 %, was 4 %")


def make_facts(
    *,
    champion: ChampionFacts | None = CHAMPION,
    drift: Sequence[DriftDay] = (),
    record: Sequence[DayScore] = (),
    trained: date | None = None,
) -> Facts:
    return Facts(DAY, champion, drift, record, trained)


def drifted(*flags_by_day: Sequence[Flag] | None) -> list[DriftDay]:
    """The last one is today's; None is a day without anything to compare with."""
    back = len(flags_by_day) - 1
    return [
        DriftDay(DAY - timedelta(days=back - n), tuple(flags or ()), 0 if flags is None else 11)
        for n, flags in enumerate(flags_by_day)
    ]


def scores(
    *aucs: float | None, error: float | None = None, zero_shot: float | None = 0.6
) -> list[DayScore]:
    """The last one is today's."""
    days = [DAY - timedelta(days=back) for back in range(len(aucs) - 1, -1, -1)]
    return [DayScore(day, auc, zero_shot, error) for day, auc in zip(days, aucs, strict=True)]
