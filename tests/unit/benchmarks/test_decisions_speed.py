"""`benchmarks/decisions_speed.py`: what it times is a day's profile, and Evidently may be out of reach."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark with small days."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import decisions_speed

    monkeypatch.setattr(decisions_speed, "ROWS", 5_000)
    return decisions_speed


def test_a_small_share_measures_ours_alone(speed):
    rows = list(speed.rows(0.2))
    assert [row.goal for row in rows] == ["at most 0.7 s", "", "at most 20 ms", "under 1 MB"]
    assert all(row.met and row.low <= row.measured <= row.high for row in rows)
    assert all(row.replications >= 1 for row in rows)


def test_without_a_package_index_the_row_says_so(speed, monkeypatch):
    def refuse(*_: object) -> list[float]:
        raise subprocess.CalledProcessError(1, "pip install evidently")

    monkeypatch.setattr(speed, "_run_evidently", refuse)
    *_, row = speed.rows(1.0)
    assert row.question.startswith("seconds Evidently") and row.replications == 0
    assert row.setting.startswith("not measured: ") and "pip install evidently" in row.setting


def test_evidently_is_held_against_profile_and_comparison(speed, monkeypatch):
    monkeypatch.setattr(speed, "_run_evidently", lambda *_: [30.0, 20.0])
    *_, seconds, ratio = speed.rows(1.0)
    assert (seconds.measured, seconds.high) == (20, 30)
    assert ratio.question == "times as long as ours" and ratio.measured > 20


def test_both_read_the_same_columns(speed):
    log = speed.logged_day(0)
    assert log.num_columns == speed._ready_made(log).num_columns == 8
