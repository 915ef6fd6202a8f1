"""The page of drift over the days."""

import re
from datetime import date, timedelta
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.report.drift import render_drift
from tasks.report.drift_chart import HEIGHT, WIDTH, EffectSeries, effect_chart
from tasks.report.page import MAX_DAYS, render_day, render_index

FIRST = date(2026, 3, 1)


def record(number, *, drifted="", learning=""):
    against = {
        "value": 0.02 + 0.1 * bool(drifted),
        "noise": 0.01,
        "p": 0.5,
        "drifted": bool(drifted),
    }
    usual = {} if learning else {"size": 0.02, "high": 0.05}
    column = {
        "column": "category",
        "measure": "JS distance",
        "value": 0.01,
        "threshold": 0.06,
        "drifted": bool(drifted),
        "words": "sports: 31 % of candidates, was 12 %",
        "reference": drifted or "rolling",
        "against": {"rolling": against | usual, "champion": against | usual},
    }
    day = FIRST + timedelta(days=number)
    drift = {"drifted": bool(drifted), "columns": [column], "reference": "", "learning": learning}
    return {"pipeline": "portal", "day": str(day), "drift": drift}


def pictures(page):
    return [
        ElementTree.fromstring(svg)  # noqa: S314 - our own picture
        for svg in re.findall(r"<svg.*?</svg>", page, flags=re.S)
        if 'class="chart"' in svg
    ]


def parts(picture, class_):
    return [each for each in picture.iter() if each.get("class") == class_]


def test_a_column_has_its_two_effects_what_is_usual_and_the_days_that_drifted():
    days = [
        record(n, drifted="rolling" if n == 7 else "champion" if n == 9 else "") for n in range(12)
    ]
    page = render_drift(days)
    (picture,) = pictures(page)
    assert [len(parts(picture, f"line {name}")) for name in ("rolling", "slow")] == [1, 1]
    assert len(parts(picture, "band")) == 1
    assert len(parts(picture, "dot flagged")) == 2
    assert "drifted on 03-08, 03-10" in picture.find("desc").text
    assert page.count("sports: 31 % of candidates, was 12 %") == 2
    assert page.index("2026-03-10.html") < page.index("2026-03-08.html")
    assert ">the days before<" in page and ">the champion&#39;s days<" in page


def test_only_the_latest_days_are_shown_and_columns_that_drifted_first():
    days = [record(n) for n in range(MAX_DAYS + 5)]
    for day in days:
        quiet = {**day["drift"]["columns"][0], "column": "hour", "drifted": False}
        day["drift"]["columns"].insert(0, quiet)
    days[-1]["drift"]["columns"][1]["drifted"] = True
    page = render_drift(days)
    assert f"{MAX_DAYS} days" in page
    assert page.index(">category<") < page.index(">hour<")


def test_while_learning_there_is_no_band_and_the_page_says_so():
    page = render_drift(
        [record(n, learning="learning what is usual: day 5 of 14") for n in range(3)]
    )
    assert parts(pictures(page)[0], "band") == []
    assert "Learning what is usual: day 5 of 14; until then only large shifts are drift" in page


def test_days_that_were_not_compared_are_gaps():
    days = [record(0), record(1), {"pipeline": "portal", "day": "2026-03-03", "drift": None}]
    days += [record(3), record(4)]
    (picture,) = pictures(render_drift(days))
    assert len(parts(picture, "line rolling")) == 2


def test_without_a_compared_day_the_page_says_so():
    for records in ([], [{"pipeline": "portal", "day": "2026-03-01", "drift": None}]):
        assert "No day has been compared yet" in render_drift(records)


def test_records_of_earlier_versions_and_hostile_ones_are_a_page_too():
    old = record(0)
    for key in ("against", "reference"):
        del old["drift"]["columns"][0][key]
    hostile = record(1, drifted="rolling")
    hostile["drift"]["columns"][0] |= {"column": "<script>", "words": "<b>"}
    page = render_drift([old, hostile])
    assert "<script>" not in page and "<b>" not in page


EFFECTS = st.one_of(st.none(), st.floats(0, 1e6))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(EFFECTS, EFFECTS, EFFECTS, st.sampled_from([None, "rolling", "champion"])),
        min_size=1,
        max_size=60,
    )
)
def test_effects_are_drawn_inside_the_picture(rows):
    series = EffectSeries(*zip(*rows, strict=True))
    drawn = effect_chart("category", series, [str(n) for n in range(len(rows))])
    for each in ElementTree.fromstring(drawn).iter():  # noqa: S314 - our own picture
        for name, end in (
            ("cx", WIDTH),
            ("x1", WIDTH),
            ("x2", WIDTH),
            ("cy", HEIGHT),
            ("y1", HEIGHT),
        ):
            assert 0 <= float(each.get(name, 0)) <= end
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", each.get("d", ""))]
        assert all(0 <= n <= WIDTH for n in numbers)


def test_the_day_and_the_list_of_days_link_the_page_and_the_day_says_what_is_usual():
    day = record(3, drifted="rolling") | {"verdict": "no retrain", "reason": "", "published": 10}
    page = render_day(day, [])
    assert 'href="./drift.html"' in page and 'href="./drift.html"' in render_index([day])
    assert "the days before: 0.120, usual up to 0.050" in page
