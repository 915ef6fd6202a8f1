import math
import re
import struct

import pytest
from day_records import make_quiet_record, make_record
from rich.console import Console

from tasks.report import words
from tasks.report.markdown import render_markdown, table_rows
from tasks.report.plots import plot_contest
from tasks.report.terminal import plain_lines, summary_table

HOSTILE = "a|b `c` <script>x</script>\n# heading [link](javascript:1) \x1b[31m"


def printed(records, width=120):
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(summary_table(records))
    return capture.get()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.count(12345), "12,345"),
        (words.count(None), "–"),
        (words.decimal(0.67189), "0.672"),
        (words.decimal(math.nan), "–"),
        (words.decimal("0.5"), "–"),
        (words.signed(-0.01234), "−0.0123"),
        (words.signed(0.00001), "0.0000"),
        (words.percent(3, 100), "3.0 %"),
        (words.percent(3, 0), "–"),
        (words.seconds(0.41), "0.41 s"),
        (words.seconds(12.34), "12.3 s"),
        (words.seconds(83), "1 min 23 s"),
        (words.expectation_words("ExpectColumnValuesToNotBeNull"), "column values to not be null"),
        (words.clip("abcdef", 4), "abc…"),
        (words.champion_words({"champion": "v3"}), "version 3"),
        (words.champion_words({}), "the zero-shot model"),
    ],
)
def test_values_are_said_as_people_read_them(said, expected):
    assert said == expected


def test_markdown_has_the_verdict_first_and_the_figures():
    lines = render_markdown(make_record()).splitlines()
    assert lines[0] == "# portal · 2026-03-06"
    assert lines[2] == "**Promoted: version 4 is live**"
    text = "\n".join(lines)
    assert "| impression AUC | 0.6612 | 0.6732 |" in text
    assert "| ! category | PSI | 0.310 | 0.200 | sports: 31 % of candidates, was 12 % |" in text
    assert "| label is not 0 or 1 | 1,448 |" in text


def test_every_markdown_table_keeps_its_columns_whatever_the_text():
    record = make_record(reason=HOSTILE, quarantine_reasons={HOSTILE: 1})
    record["trigger"] = {"retrain": True, "reasons": [HOSTILE]}
    text = render_markdown(record)
    assert "<script>" not in text
    assert "\n# heading" not in text
    assert "](javascript" not in text.replace("\\]", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1


@pytest.mark.parametrize("missing", sorted(make_record()))
def test_every_part_is_optional_in_words_too(missing):
    record = make_record()
    record[missing] = None
    for text in (render_markdown(record), printed([record]), *plain_lines([record])):
        assert "None" not in text


def test_artifact_rows_share_their_keys():
    rows = table_rows(make_quiet_record())
    assert {tuple(row) for row in rows} == {("figure", "value")}
    assert {"figure": "challenger's gain", "value": "–"} in rows


def test_the_terminal_table_has_a_line_a_day_with_all_that_was_asked_for():
    text = printed([make_quiet_record(), make_record()])
    for fact in ("2026-03-06", "59,010", "1,836", "category", "drift in", "0.661", "0.622"):
        assert fact in text
    assert "+0.012" in text
    assert "(+0.004 +0.020)" in text
    assert "promoted v4" in text
    assert "84.2" in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_plain_lines_fit_and_line_up():
    long = {"retrain": True, "reasons": ["drift in " + "category and " * 20]}
    verdict = "not enough evidence"
    records = [make_quiet_record(), make_record(trigger=long, verdict=verdict)]
    heading, *days, _ = plain_lines(records)
    assert [day.split()[0] for day in days] == ["2026-03-03", "2026-03-06"]
    assert all(len(line) <= 150 for line in (heading, *days))
    assert len({len(day) for day in days}) == 1
    assert "not enough e" in days[1]


def test_no_text_can_redraw_the_terminal_or_break_its_lines():
    record = make_record(day=HOSTILE, trigger={"reasons": [HOSTILE]}, verdict=HOSTILE)
    assert not any("\x1b" in line or "\n" in line for line in plain_lines([record]))
    assert "\x1b" not in printed([record])


def test_no_days_are_a_heading_alone():
    assert len(plain_lines([])) == 2


def png_size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def test_plots_are_small_pngs_of_the_contest_and_the_days():
    plots = plot_contest(make_record(), [make_quiet_record()])
    assert sorted(plots) == ["auc.png", "calibration.png", "roc.png"]
    assert {png_size(png) for png in plots.values()} == {(480, 400)}
    assert all(len(png) < 60_000 for png in plots.values())


def test_a_day_without_a_contest_has_no_plots():
    assert plot_contest(make_quiet_record()) == {}
