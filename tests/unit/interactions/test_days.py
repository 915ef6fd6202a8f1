"""Which day a row belongs to: late rows, the future, time zones, files of many days."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from ingest_bench import DAY, Bench, event

from tasks.errors import SourceError
from tasks.interactions.rows import FUTURE


def at(time: str, number: int = 1) -> dict[str, object]:
    return event(number, event_time=time)


def test_late_rows_go_to_their_own_day_and_stay_with_the_file_that_brought_them(
    bench: Bench,
) -> None:
    times = ["2026-11-02T01:00:00Z", "2026-11-01T23:00:00Z", "2026-10-30T00:00:00Z"]
    too_late = "2026-10-29T23:59:59Z"
    bench.write_rows([at(time, n) for n, time in enumerate([*times, too_late])])
    publication = bench.run()
    assert bench.published("event_date", "source_day") == [
        (date(2026, 10, 30), DAY),
        (date(2026, 11, 1), DAY),
        (DAY, DAY),
    ]
    assert publication.late == 2
    assert publication.days == (date(2026, 10, 30), date(2026, 11, 1), DAY)
    assert list(publication.quarantine_reasons) == [
        "too late: event_time is more than 3 days before the file's day"
    ]


def test_an_hour_past_midnight_goes_to_the_next_day_and_more_is_the_future(bench: Bench) -> None:
    times = ["2026-11-03T00:00:00Z", "2026-11-03T01:00:00Z", "2026-11-03T01:00:01Z"]
    bench.write_rows([at(time, n) for n, time in enumerate(times)])
    publication = bench.run()
    assert bench.published("event_date") == [(date(2026, 11, 3),)] * 2
    assert publication.quarantine_reasons == {FUTURE: 1}
    assert publication.late == 0


def test_later_than_now_is_the_future_even_within_the_day(bench: Bench) -> None:
    bench.write_rows([at("2026-11-02T10:00:00Z"), at("2026-11-02T10:00:01Z", 2)])
    publication = bench.run(now=datetime(2026, 11, 2, 10, tzinfo=UTC))
    assert (publication.published, publication.quarantine_reasons) == (1, {FUTURE: 1})


def test_a_row_that_comes_again_with_a_later_day_is_a_duplicate(bench: Bench) -> None:
    bench.write_rows([at("2026-11-02T23:00:00Z")])
    bench.write_rows(
        [at("2026-11-02T23:00:00Z"), at("2026-11-02T22:00:00Z", 2), at("2026-11-03T01:00:00Z", 3)],
        "2026-11-03.jsonl",
    )
    bench.run()
    second = bench.run(day=date(2026, 11, 3))
    assert (second.rows_read, second.published, second.duplicates, second.late) == (3, 2, 1, 1)
    assert bench.published("event_id") == [("e1",), ("e2",), ("e3",)]
    again = bench.run()
    assert (again.revision, again.published) == (1, 1)
    assert bench.published("event_id") == [("e1",), ("e2",), ("e3",)]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_a_day_begins_and_ends_in_the_sources_time_zone(bench: Bench, zone: str) -> None:
    from zoneinfo import ZoneInfo

    first = datetime(2026, 11, 2, tzinfo=ZoneInfo(zone))
    before, last = first - timedelta(seconds=1), first + timedelta(hours=24, seconds=-1)
    bench.write_rows(
        [at(time.astimezone(UTC).isoformat(), n) for n, time in enumerate([before, first, last])]
    )
    bench.run(bench.source(time_zone=zone))
    assert bench.published("event_id", "event_date") == [
        ("e0", date(2026, 11, 1)),
        ("e1", DAY),
        ("e2", DAY),
    ]


def test_days_of_23_and_25_hours_are_whole(bench: Bench) -> None:
    source = bench.source(time_zone="Europe/Berlin")
    for day, hours, offset in ((date(2026, 3, 29), 23, 1), (date(2026, 10, 25), 25, 2)):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=offset)
        times = [(start + timedelta(hours=h)).isoformat() for h in range(-1, hours + 1)]
        rows = [event(n, event_time=t, event_id=f"{day}-{n}") for n, t in enumerate(times)]
        bench.write_rows(rows, f"{day}.jsonl")
        bench.run(source, day)
        found = bench.lake.read("interactions", columns=["event_date"], days=(day, day))
        assert found.num_rows == hours


def test_a_naive_time_that_came_twice_or_never_is_read_like_pythons(bench: Bench) -> None:
    source = bench.source(time_zone="Europe/Berlin")
    bench.write_rows([at("2026-03-29 02:30:00")], "2026-03-29.jsonl")
    bench.run(source, date(2026, 3, 29))
    assert bench.published("event_time") == [(datetime(2026, 3, 29, 1, 30, tzinfo=UTC),)]


MANY = [
    at("2026-11-01T10:00:00Z", 1),
    at("2026-11-02T10:00:00Z", 2),
    at("2026-11-02T11:00:00Z", 3),
    at("2026-11-02T12:00:00Z", 4) | {"user_id": ""},
    at("never", 5),
    at("2027-01-01T00:00:00Z", 6),
]


def test_a_file_of_many_days_gives_each_day_its_own_rows(bench: Bench) -> None:
    bench.write_rows(MANY, "all.jsonl")
    source = bench.source("*.jsonl")
    second = bench.run(source)
    # Two rows, one of the day's refused, and the two that belong to no day.
    assert (second.rows_read, second.published, second.quarantined) == (5, 2, 3)
    first = bench.run(source, date(2026, 11, 1))
    assert (first.rows_read, first.published, first.quarantined) == (1, 1, 0)
    assert [line for line, *_ in bench.refused()] == [4, 5, 6]
    assert replace(bench.run(source), version=second.version) == second
    assert len(bench.refused()) == 3


def test_rows_of_no_day_are_quarantined_once_however_the_file_grows(bench: Bench) -> None:
    bench.write_rows(MANY, "all.jsonl")
    source, third = bench.source("*.jsonl"), date(2026, 11, 3)
    assert bench.run(source).quarantined == 3

    grown = [*MANY, at("2026-11-03T10:00:00Z", 7), at("never", 8)]
    bench.write_rows(grown, "all.jsonl")
    later = bench.run(source, third)
    assert (later.rows_read, later.published, later.quarantined) == (2, 1, 1)
    assert [line for line, *_ in bench.refused()] == [4, 5, 6, 8]
    again = bench.run(source)
    assert (again.rows_read, again.published, again.quarantined) == (5, 2, 3)

    bench.write_rows([*grown, at("2026-11-02T13:00:00Z", 9) | {"user_id": ""}], "all.jsonl")
    revised = bench.run(source)
    assert (revised.revision, revised.rows_read, revised.quarantined) == (2, 6, 4)
    assert bench.run(source, third).quarantined == 1
    assert [line for line, *_ in bench.refused()] == [4, 5, 6, 8, 9]


def test_a_day_that_a_file_of_many_does_not_have_names_those_it_has(bench: Bench) -> None:
    bench.write_rows(MANY[:4], "all.jsonl")
    with pytest.raises(SourceError, match="2026-11-01 to 2026-11-02"):
        bench.run(bench.source("*.jsonl"), date(2026, 11, 9))


def test_new_days_in_a_file_of_many_do_not_revise_the_old_ones(bench: Bench) -> None:
    source = bench.source("*.jsonl")
    bench.write_rows(MANY[:3], "all.jsonl")
    bench.run(source)
    before = bench.published("event_id", "ingest_time")
    bench.write_rows([at("2026-11-03T10:00:00Z", 7), *MANY[:3]], "all.jsonl")
    again = bench.run(source)
    assert (again.revision, again.superseded) == (1, None)
    assert bench.published("event_id", "ingest_time") == before
    bench.write_rows([MANY[0], MANY[1] | {"label": 1}, MANY[2]], "all.jsonl")
    assert bench.run(source).revision == 2


def test_mind_histories_are_part_of_what_a_revision_is(bench: Bench) -> None:
    source = bench.source("behaviors.tsv", "mind")
    for revision, history in ((1, "N1"), (2, "N1 N2")):
        bench.write("behaviors.tsv", f"1\tU\t11/02/2026 2:14:46 PM\t{history}\tN3-1\n")
        assert bench.run(source).revision == revision


def test_what_a_wrong_clock_refused_is_published_when_the_clock_is_right(bench: Bench) -> None:
    bench.write_rows([at("2026-11-02T10:00:00Z"), at("2026-11-02T10:00:01Z", 2)])
    bench.stage(now=datetime(2026, 10, 20, tzinfo=UTC))  # the day stops here, nothing is public
    bench.run(now=datetime(2026, 11, 2, 10, tzinfo=UTC))
    assert bench.published("event_id") == [("e1",)]
    again = bench.run()
    assert (again.revision, again.published, again.quarantine_reasons) == (2, 2, {})
    assert bench.published("event_id") == [("e1",), ("e2",)]
    assert bench.refused() == []
    assert bench.run().revision == 2
