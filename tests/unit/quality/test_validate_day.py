import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from staged_days import DAY, ITEMS, good_rows, stage

from tasks.errors import ConfigError
from tasks.interactions.schema import INTERACTIONS
from tasks.quality.expectations import CustomExpectation
from tasks.quality.suite import RecentDay, Settings
from tasks.quality.validate import ExpectationResult, QualityReport, validate_day

RECENT = [RecentDay(DAY - timedelta(days=back), 200, 0.05) for back in (3, 2, 1)]


def judge(
    tmp_path: Path, rows: list[dict[str, Any]], *expectations: CustomExpectation, **changes: Any
) -> QualityReport:
    arguments = {"known_items": ITEMS, "recent": RECENT, "settings": Settings(), **changes}
    files = [stage(tmp_path / "a.parquet", rows)]
    return validate_day(files, DAY, expectations=expectations, **arguments)


def only_failure(report: QualityReport) -> ExpectationResult:
    assert len(report.failed) == 1, report.failed
    return report.failed[0]


def test_an_ordinary_day_passes_every_default_rule(tmp_path: Path) -> None:
    report = judge(tmp_path, good_rows())

    assert report.passed and not report.failed
    assert len(report.results) == 12


def test_the_report_has_the_shape_of_the_days_record(tmp_path: Path) -> None:
    document = judge(tmp_path, good_rows()).to_json()

    assert document["passed"] is True
    assert document["results"][0] == {
        "expectation": "ExpectColumnValuesToNotBeNull",
        "column": "event_id",
        "severity": "critical",
        "success": True,
        "observed": "0 of 200",
        "unexpected": 0,
        "rows": [],
    }


@pytest.mark.parametrize("key", ["event_id", "impression_id", "user_id", "item_id"])
def test_a_missing_key_stops_the_day_and_is_shown(tmp_path: Path, key: str) -> None:
    rows = good_rows()
    rows[150][key] = None
    report = judge(tmp_path, rows)

    failure = only_failure(report)
    assert not report.passed
    assert (failure.expectation, failure.column) == ("ExpectColumnValuesToNotBeNull", key)
    assert failure.rows == [
        {
            "event_id": None if key == "event_id" else "e150",
            "source": "logs/a.json.gz",
            "value": None,
        }
    ]


def test_a_label_of_2_is_found_with_its_row(tmp_path: Path) -> None:
    rows = good_rows()
    rows[77]["label"] = 2
    failure = only_failure(judge(tmp_path, rows))

    assert (failure.column, failure.unexpected, failure.observed) == ("label", 1, "1 of 200")
    assert failure.rows == [{"event_id": "e77", "source": "logs/a.json.gz", "value": "2"}]


def test_an_event_id_told_twice_is_found_across_files(tmp_path: Path) -> None:
    first, second = good_rows(100), good_rows(100, first=100)
    second[5]["event_id"] = "e3"
    second[5]["source"] = "logs/b.json.gz"
    files = [stage(tmp_path / "z.parquet", first), stage(tmp_path / "a.parquet", second)]
    report = validate_day(files, DAY, known_items=ITEMS, recent=RECENT, settings=Settings())

    failure = only_failure(report)
    assert failure.expectation == "ExpectColumnValuesToBeUnique"
    assert [(row["event_id"], row["source"]) for row in failure.rows] == [
        ("e3", "logs/a.json.gz"),
        ("e3", "logs/b.json.gz"),
    ]


def test_a_time_outside_of_its_day_is_found(tmp_path: Path) -> None:
    rows = good_rows()
    rows[10]["event_time"] = datetime(2026, 3, 2, tzinfo=UTC)
    failure = only_failure(judge(tmp_path, rows))

    assert failure.column == "event_time"
    assert failure.rows[0]["value"] == (
        "event_time 2026-03-02 00:00:00+00:00, event_date 2026-03-01"
    )


def test_a_late_row_is_held_against_its_own_day(tmp_path: Path) -> None:
    late = good_rows(20, DAY - timedelta(days=2), first=1000)
    assert judge(tmp_path, good_rows() + late).passed

    late[0]["event_time"] += timedelta(days=1)
    assert only_failure(judge(tmp_path, good_rows() + late)).column == "event_time"


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
def test_a_day_is_as_long_as_its_clocks_say(tmp_path: Path, day: date) -> None:
    # Berlin: 23 hours long on 2026-03-29, 25 on 2026-10-25; 21:59 and 22:59 UTC end the day
    rows = good_rows(2, day)
    last = datetime(2026, 3, 29, 21, 59, 59) if day.month == 3 else datetime(2026, 10, 25, 22, 59)
    rows[1]["event_time"] = last.replace(tzinfo=UTC)
    settings = Settings(time_zone="Europe/Berlin")
    path = stage(tmp_path / "a.parquet", rows)
    arguments = {"known_items": ITEMS, "recent": [], "settings": settings}
    assert validate_day([path], day, **arguments).passed

    rows[1]["event_time"] += timedelta(minutes=2)
    stage(path, rows)
    assert only_failure(validate_day([path], day, **arguments)).column == "event_time"


def test_late_rows_count_for_neither_rows_nor_click_rate(tmp_path: Path) -> None:
    late = good_rows(2000, DAY - timedelta(days=1), first=1000)
    for row in late:
        row["label"] = 1
    report = judge(tmp_path, good_rows() + late)

    observed = {result.expectation: result.observed for result in report.results}
    assert report.passed
    assert observed["ExpectTableRowCountToBeBetween"].startswith("200, allowed 60 to 600")
    assert observed["ExpectColumnMeanToBeBetween"].startswith("0.05,")


def test_half_the_files_missing_stops_the_day(tmp_path: Path) -> None:
    recent = [RecentDay(past.day, 1000, 0.05) for past in RECENT]
    failure = only_failure(judge(tmp_path, good_rows(), recent=recent))

    assert failure.expectation == "ExpectTableRowCountToBeBetween"
    assert failure.observed == "200, allowed 300 to 3,000"


def test_a_broken_click_join_stops_the_day(tmp_path: Path) -> None:
    rows = good_rows(4000)
    for row in rows[:3000]:
        row["label"] = 0
    recent = [RecentDay(past.day, 4000, 0.05) for past in RECENT]
    failure = only_failure(judge(tmp_path, rows, recent=recent))

    # 0.5 × 5 % less three standard errors: 0.025 − 3 √(0.025 × 0.975 / 4000) = 0.0176
    assert failure.expectation == "ExpectColumnMeanToBeBetween"
    assert failure.observed.startswith("0.0125, allowed 0.01759")


def test_a_small_day_without_clicks_is_chance_not_an_alarm(tmp_path: Path) -> None:
    rows = good_rows(100)
    for row in rows:
        row["label"] = 0
    recent = [RecentDay(past.day, 100, 0.02) for past in RECENT]

    assert judge(tmp_path, rows, recent=recent).passed


def test_too_few_recent_days_are_said_not_judged(tmp_path: Path) -> None:
    report = judge(tmp_path, good_rows(), recent=RECENT[:1])

    assert report.passed
    assert report.results[-1].observed == "not judged: 1 of 2 recent days published"


def test_unknown_items_beyond_their_share_stop_the_day(tmp_path: Path) -> None:
    assert judge(tmp_path, good_rows(), known_items=ITEMS[:46]).passed
    failure = only_failure(judge(tmp_path, good_rows(), known_items=ITEMS[:40]))

    assert (failure.column, failure.observed) == ("item_id", "40 of 200, allowed 10 %")
    assert failure.rows[0] == {"event_id": "e40", "source": "logs/a.json.gz", "value": "N40"}


def test_a_missing_item_is_not_an_unknown_one_as_well(tmp_path: Path) -> None:
    rows = good_rows()
    for row in rows[:60]:
        row["item_id"] = None
    failure = only_failure(judge(tmp_path, rows))

    assert (failure.expectation, failure.unexpected) == ("ExpectColumnValuesToNotBeNull", 60)


def test_without_a_catalogue_items_are_not_judged(tmp_path: Path) -> None:
    report = judge(tmp_path, good_rows(), known_items=None)

    assert report.passed
    assert report.results[-1].observed == "not judged: there is no catalogue"


def test_a_day_without_rows_fails_by_its_row_count_alone(tmp_path: Path) -> None:
    failure = only_failure(judge(tmp_path, [], recent=[]))

    assert failure.observed == "0, at least 1"


def test_no_more_rows_are_shown_than_asked_for(tmp_path: Path) -> None:
    rows = good_rows()
    for row in rows:
        row["label"] = 7
    report = judge(tmp_path, rows, recent=[], max_rows_shown=4)

    assert report.failed[0].unexpected == 200
    assert [row["event_id"] for row in report.failed[0].rows] == ["e0", "e1", "e2", "e3"]


def test_a_warning_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    rule = CustomExpectation(
        "ExpectColumnValuesToBeBetween",
        {"column": "position", "min_value": 1, "max_value": 19},
        "warning",
    )
    report = judge(tmp_path, good_rows(), rule)

    failure = only_failure(report)
    assert report.passed
    assert (failure.severity, failure.unexpected) == ("warning", 10)
    assert failure.rows[0]["value"] == "20"


def test_a_rule_on_chosen_rows_reads_what_its_condition_mentions(tmp_path: Path) -> None:
    rule = CustomExpectation(
        "ExpectColumnMeanToBeBetween",
        {"column": "dwell_seconds", "min_value": 20, "row_condition": "label == 1"},
        "critical",
    )
    failure = only_failure(judge(tmp_path, good_rows(), rule))

    assert failure.observed == "12.5, at least 20"


def test_a_rule_about_the_tables_columns_sees_all_of_them(tmp_path: Path) -> None:
    exists = CustomExpectation("ExpectColumnToExist", {"column": "dwell_seconds"}, "critical")
    missing = CustomExpectation("ExpectColumnToExist", {"column": "price"}, "critical")

    assert only_failure(judge(tmp_path, good_rows(), exists, missing)).column == "price"


def test_a_rule_that_cannot_be_evaluated_fails_and_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rule = CustomExpectation("ExpectColumnMeanToBeBetween", {"column": "surface", "min_value": 1})
    failure = only_failure(judge(tmp_path, good_rows(), rule))

    assert failure.observed.startswith("could not be evaluated:")
    assert capfd.readouterr() == ("", "")


def test_severities_can_be_chosen_by_rule(tmp_path: Path) -> None:
    rows = good_rows()
    rows[0]["label"] = 5
    assert judge(tmp_path, rows, settings=Settings(severities={"labels": "warning"})).passed

    with pytest.raises(ConfigError, match=r"no rule 'label'.*keys, unique, labels"):
        judge(tmp_path, rows, settings=Settings(severities={"label": "warning"}))


def test_nothing_is_printed_warned_or_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("home", "work", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "work")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge(tmp_path, good_rows())

    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a.parquet",
        "home",
        "temporary",
        "work",
    ]


def test_days_that_only_the_folders_name_are_read(tmp_path: Path) -> None:
    files = []
    for day, rows in ((DAY, good_rows()), (DAY - timedelta(days=1), good_rows(40, first=500))):
        folder = tmp_path / f"event_date={day}" / f"source_day={DAY}"
        folder.mkdir(parents=True)
        bare = [
            {k: v for k, v in row.items() if k not in ("event_date", "source_day")} for row in rows
        ]
        files.append(folder / "part.parquet")
        schema = pa.schema(f for f in INTERACTIONS if f.name not in ("event_date", "source_day"))
        pq.write_table(pa.Table.from_pylist(bare, schema=schema), files[-1])
    report = validate_day(files, DAY, known_items=ITEMS, recent=RECENT, settings=Settings())

    # the second file's times are of the day itself, its folder says the day before
    failure = only_failure(report)
    assert (failure.column, failure.observed) == ("event_time", "40 of 240")
    assert failure.rows[0]["event_id"] == "e500"


def test_missing_optional_columns_of_a_file_are_empty(tmp_path: Path) -> None:
    path = stage(tmp_path / "a.parquet", good_rows())
    pq.write_table(pq.read_table(path).drop_columns(["dwell_seconds", "surface"]), path)
    rule = CustomExpectation("ExpectColumnValuesToNotBeNull", {"column": "surface"})
    report = validate_day(
        [path], DAY, known_items=pa.chunked_array([ITEMS]), recent=RECENT, settings=Settings(),
        expectations=[rule],
    )  # fmt: skip

    assert only_failure(report).unexpected == 200
