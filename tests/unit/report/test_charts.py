import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.report.charts import (
    Line,
    bar,
    calibration_chart,
    interval_chart,
    lines_chart,
    roc_chart,
)
from tasks.report.svg import Scale, element, spread, ticks

finite = st.floats(-1e6, 1e6)
rate = st.floats(0, 1)
X = ("x", "x1", "x2", "cx")
Y = ("y", "y1", "y2", "cy")


def assert_inside(svg):
    """Every coordinate of the picture lies in its viewBox."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own picture
    _, _, width, height = map(float, root.get("viewBox").split())
    for part in root.iter():
        xs = [float(part.get(name)) for name in X if part.get(name)]
        ys = [float(part.get(name)) for name in Y if part.get(name)]
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", part.get("d") or "")]
        assert all(0 <= x <= width for x in [*xs, *numbers[::2]])
        assert all(0 <= y <= height for y in [*ys, *numbers[1::2]])
    return root


@given(st.lists(st.tuples(st.none() | rate, st.none() | rate), min_size=1, max_size=70))
def test_days_are_drawn_inside_the_picture(values):
    champion, zero_shot = zip(*values, strict=True)
    lines = [Line("champion", champion, "champion"), Line("zero-shot", zero_shot, "zero-shot")]
    marks = {index: f"v{index}" for index in range(0, len(values), 3)}
    svg = lines_chart("AUC", lines, ["03-01"] * len(values), marks)
    if any(value is not None for pair in values for value in pair):
        assert_inside(svg)
    else:
        assert svg == ""


@given(st.tuples(finite, finite, finite), st.none() | st.floats(0, 0.5))
def test_intervals_are_drawn_inside_the_picture(ends, min_gain):
    low, gain, high = sorted(ends)
    assert_inside(interval_chart({"gain": gain, "low": low, "high": high, "min_gain": min_gain}))


@given(st.lists(st.tuples(rate, rate, st.integers(1, 999)), max_size=20))
def test_curves_are_drawn_inside_the_picture(points):
    assert_inside(roc_chart({"champion": points, "challenger": points}))
    assert_inside(calibration_chart({"champion": points, "challenger": points}))


@given(st.none() | finite, finite, st.none() | finite)
def test_bars_are_drawn_inside_the_picture(value, full, mark):
    assert_inside(bar(value, full, mark=mark))


def test_a_picture_says_in_words_what_it_shows():
    root = assert_inside(lines_chart("AUC by day", [Line("champion", [0.6, 0.7], "c")], ["1", "2"]))
    children = {child.tag: child.text for child in root}
    assert root.get("role") == "img"
    assert children["title"] == "AUC by day"
    assert children["desc"] == "champion 0.700"


def test_a_missing_value_is_a_gap_and_not_a_line_across_it():
    values = [0.60, 0.61, None, 0.62, 0.63]
    root = assert_inside(lines_chart("AUC", [Line("champion", values, "champion")], list("12345")))
    strokes = [part for part in root.iter("path") if part.get("class") == "line champion"]
    assert len(strokes) == 2
    assert len(list(root.iter("circle"))) == 4


def test_an_interval_without_finite_ends_is_not_drawn():
    assert interval_chart({"gain": 0.1, "low": float("nan"), "high": 0.2}) == ""


def test_a_scale_worked_by_hand():
    scale = Scale(0.5, 0.7, 100, 200)
    assert scale(0.6) == pytest.approx(150)
    assert (scale(0), scale(9)) == (100, 200)
    assert Scale(1, 1, 100, 200)(1) == 150


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.61, 0.68, [0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67, 0.68]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high, most=8) == pytest.approx(expected)


@given(finite, st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_few_and_lie_within(low, span, most):
    marks = ticks(low, low + span, most)
    assert len(marks) <= most
    assert all(low - span * 1e-6 <= mark <= low + span * (1 + 1e-6) for mark in marks)


@given(st.lists(st.floats(0, 300), max_size=6))
def test_labels_keep_their_distance_and_their_order(positions):
    placed = spread(positions, 17, 0, 300)
    order = sorted(range(len(positions)), key=positions.__getitem__)
    gaps = [placed[b] - placed[a] for a, b in pairwise(order)]
    assert all(gap >= 17 - 1e-9 for gap in gaps)
    assert all(-1e-9 <= p <= 300 + 1e-9 for p in placed)


def test_text_and_attributes_are_escaped():
    assert element("text", "<b>&", class_='"x') == '<text class="&#34;x">&lt;b&gt;&amp;</text>'
