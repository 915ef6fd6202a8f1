"""Which days a day is held against."""

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from portal import write_config

from tasks.detect_drift import _references
from tasks.drift.past import CHAMPION, ROLLING
from tasks.workspace import open_workspace

DAY = date(2026, 3, 31)
WEEK = (date(2026, 3, 24), date(2026, 3, 30))


@pytest.fixture
def references(tmp_path):
    workspace = open_workspace(write_config(tmp_path, tmp_path / "logs"), "portal")

    def of(first, last):
        live = SimpleNamespace(
            trained_from=first and datetime(2026, 3, first, 1, tzinfo=UTC),
            trained_through=last and datetime(2026, 3, last, 12, tzinfo=UTC),
        )
        workspace.__dict__["registry"] = SimpleNamespace(version=lambda _: live)
        return _references(workspace, DAY, "3")

    return of


def test_a_day_is_held_against_the_week_before_and_the_champions_days(references):
    assert references(8, 17) == {
        ROLLING: WEEK,
        CHAMPION: (date(2026, 3, 8), date(2026, 3, 17)),
    }


def test_a_champion_of_few_days_is_taken_with_the_week_up_to_its_newest(references):
    assert references(16, 17)[CHAMPION] == (date(2026, 3, 11), date(2026, 3, 17))


def test_a_champion_that_learned_from_the_week_before_is_no_second_reference(references):
    assert references(24, 30) == {ROLLING: WEEK}
    assert references(29, 30) == {ROLLING: WEEK}


def test_without_a_trained_champion_there_is_the_week_before_alone(references):
    assert references(None, None) == {ROLLING: WEEK}


def test_a_champion_has_not_learned_from_the_day_itself(references):
    assert references(20, 31)[CHAMPION] == (date(2026, 3, 20), date(2026, 3, 30))
