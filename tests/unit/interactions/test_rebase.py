"""Days read ahead of their neighbours and compared later are the days that were read in turn."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_bench import DAY, Bench, event

DAYS = [DAY + timedelta(days=n) for n in range(3)]

Delivery = list[tuple[int, int]]
"""Rows of one file: the event's number, and how many days late it comes."""
FILE = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=12)


def rows(day: date, delivery: Delivery) -> list[dict[str, Any]]:
    own = [event(900 + day.toordinal() % 90, event_time=f"{day}T01:00:00Z")]
    return own + [
        event(number, event_time=f"{day - timedelta(days=late)}T10:00:00Z", item_id=f"n{number}")
        for number, late in delivery
    ]


def deliver(folder: Path, files: list[Delivery]) -> Bench:
    folder.mkdir()
    bench = Bench(folder)
    for day, delivery in zip(DAYS, files, strict=True):
        bench.write_rows(rows(day, delivery), f"{day}.jsonl")
    return bench


def facts(publication: Any) -> tuple[Any, ...]:
    return (
        publication.rows_read,
        publication.published,
        publication.duplicates,
        publication.late,
        publication.days,
        publication.revision,
    )


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(files=st.tuples(FILE, FILE, FILE), order=st.permutations(range(3)))
def test_read_ahead_gives_what_reading_in_turn_gives(
    tmp_path_factory: Any, files: tuple[Delivery, ...], order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("ahead")
    turn = deliver(folder / "turn", list(files))
    ahead = deliver(folder / "ahead", list(files))
    for day in DAYS:
        staged = ahead.stage(day=day, lake=None)
        assert staged.neighbours == ()
    for place in order:
        in_turn, compared = turn.run(day=DAYS[place]), ahead.run(day=DAYS[place])
        assert facts(in_turn) == facts(compared)
    columns = ("event_id", "event_date", "source_day", "item_id", "label")
    assert turn.published(*columns) == ahead.published(*columns)


def test_a_day_read_ahead_is_not_read_again(bench: Bench) -> None:
    bench.write_rows([event(1)])
    bench.write_rows([event(1), event(2, event_time="2026-11-03T01:00:00Z")], "2026-11-03.jsonl")
    ahead = bench.stage(day=DAYS[1], lake=None)
    bench.run()
    compared = bench.stage(day=DAYS[1])
    assert compared.folder == ahead.folder
    assert (ahead.published, ahead.duplicates) == (2, 0)
    assert (compared.published, compared.duplicates) == (1, 1)
    # The part that nobody else brought is the very file that was read ahead.
    assert {f.path for f in compared.interactions} < {f.path for f in ahead.interactions}


def test_a_neighbour_that_was_corrected_means_reading_again(bench: Bench) -> None:
    """What a neighbour's first revision took out may have to come back."""
    bench.write_rows([event(1), event(3)])
    bench.write_rows([event(1), event(2, event_time="2026-11-03T01:00:00Z")], "2026-11-03.jsonl")
    bench.run()
    assert bench.stage(day=DAYS[1]).duplicates == 1
    bench.write_rows([event(3)])
    bench.run()
    again = bench.stage(day=DAYS[1])
    assert (again.published, again.duplicates, again.late) == (2, 0, 1)
