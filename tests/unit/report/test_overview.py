from datetime import UTC, datetime, timedelta

import pytest
from day_records import make_record

from tasks.report.overview import ago, overview_lines, sparkline

NOW = datetime(2026, 3, 9, 9, 0, tzinfo=UTC)
STATUS = {
    "pipeline": "portal",
    "champion": "12",
    "champion_since": "2026-03-06T05:10:00+00:00",
    "champion_trained_through": "2026-03-05T23:59:58+00:00",
    "complete_days": 1_234,
    "missing_days": ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"],
    "unfinished_days": [],
    "auc": {
        "days": ["2026-03-06", "2026-03-07", "2026-03-08"],
        "champion": [0.70, 0.71, 0.72],
        "zero_shot": [0.65, None, 0.66],
        "trend": "rising",
        "change": 0.02,
    },
    "waiting": ["13"],
    "triggers": [],
    "why": "gain +0.0120 (95 % interval +0.0040 to +0.0200) clears min_gain 0.002",
    "shadows": [
        {"version": "14", "until": "2026-03-15", "gain": 0.004, "low": -0.002, "high": 0.011}
    ],
    "superseded": [str(n) for n in range(2, 9)],
    "deployment": {"state": "deployed", "words": "daily/portal starts it"},
    "next_run": "2026-03-10T04:30:00+01:00",
    "time_zone": "Europe/Berlin",
    "today": "2026-03-09",
    "days": [make_record(day=f"2026-03-0{n}", published=1_234_567) for n in (6, 7, 8)],
}


def test_the_screen_says_who_is_live_how_it_fares_and_what_is_next():
    text = "\n".join(overview_lines(STATUS, NOW))
    assert "2026-03-08 (yesterday): promoted v4; 1,234 complete" in text
    assert "missing     2026-03-01, 2026-03-02, 2026-03-03 and 1 more" in text
    assert "v12, live for 3 days (since 2026-03-06 05:10 UTC)" in text
    assert "learned to  2026-03-05 23:59 UTC" in text
    assert "0.720, rising by 0.020 over 3 days" in text
    assert "why         gain +0.0120 (95 % interval +0.0040 to +0.0200) clears min_gain" in text
    assert "in shadow   v14 until 2026-03-15: gain +0.0040 (−0.0020 to +0.0110)" in text
    assert "waiting     v13; dayspring review portal" in text
    assert "superseded  v5, v6, v7, v8 and 3 more learned from" in text
    assert "2026-03-10 04:30 Europe/Berlin, in 18 h" in text
    assert "deployment  daily/portal starts it" in text


def test_the_screen_is_80_columns_wide_whatever_the_values():
    wide = {**STATUS, "time_zone": "America/Argentina/ComodRivadavia", "pipeline": "p" * 63}
    lines = overview_lines(wide, NOW)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24


def test_a_pipeline_without_a_day_says_how_to_begin():
    empty = {
        **STATUS,
        "days": [],
        "why": None,
        "shadows": [],
        "champion": None,
        "auc": None,
        "missing_days": [],
    }
    text = "\n".join(overview_lines(empty, NOW))
    assert "none yet; start with dayspring run portal" in text
    assert "zero-shot" in text


def test_bars_stand_between_the_lowest_and_the_highest():
    assert sparkline([0.0, 0.5, 1.0], 0.0, 1.0) == "▁▅█"
    assert sparkline([0.7, 0.7], 0.7, 0.7) == "▅▅"
    assert sparkline([], 0.0, 1.0) == ""


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(days=3, hours=23), "3 days"),
        (timedelta(hours=47), "47 h"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(seconds=-5), "0 min"),
    ],
)
def test_a_span_is_said_in_its_largest_unit(span, said):
    assert ago(span) == said


def test_each_trigger_has_its_account():
    account = {"asked": 1_200, "fired": 40, "promoted": 13, "open": 0, "precision": 0.325}
    account |= {"mean_gain": 0.01234, "gain_error": 0.00234, "train_seconds": 8_000.0}
    drift = {**account, "trigger": "drift 2 of 3 d", "asking_seconds": 0.0}
    idle = dict.fromkeys(("precision", "mean_gain", "gain_error"))
    probe = {**account, **idle, "trigger": "probe 256", "fired": 1, "promoted": 0, "open": 1}
    probe |= {"train_seconds": 9.6, "asking_seconds": 130.0}
    lines = overview_lines({**STATUS, "triggers": [drift, probe]}, NOW)
    said = {line.split("  ")[0]: " ".join(line.split()) for line in lines}
    assert said["drift 2 of 3 d"] == "drift 2 of 3 d 1,200 40 13 (32 %) +0.0123 ±0.0023 2.2 h"
    assert said["probe 256"] == "probe 256 1,200 1 – +1? – 140 s"
    assert max(map(len, lines)) <= 80
