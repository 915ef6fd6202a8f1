"""The page's pictures. Colours come from the page's style sheet, so that they follow dark mode.

Every picture is about as many units wide as pixels on screen, so that its text stays readable on a
phone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tasks.report.svg import Scale, element, label, padded, path, picture, spread, ticks
from tasks.report.words import as_number, decimal, signed

WIDTH = 480.0
Point = Sequence[float]


@dataclass(frozen=True)
class Line:
    """One named line of a chart; None is a gap."""

    name: str
    values: Sequence[float | None]
    class_: str


@dataclass(frozen=True)
class Frame:
    """The plotting area: its scales, and the axes around it."""

    x: Scale
    y: Scale

    def grid(self, tick_digits: int) -> list[Markup]:
        """Horizontal rules with their values on the left."""
        marks = ticks(self.y.low, self.y.high)
        rules = [
            element(
                "line", x1=self.x.start, x2=self.x.end, y1=self.y(m), y2=self.y(m), class_="grid"
            )
            for m in marks
        ]
        values = [
            label(f"{m:.{tick_digits}f}", self.x.start - 8, self.y(m) + 4, "end", "tick")
            for m in marks
        ]
        return rules + values

    def foot(self, places: Sequence[tuple[float, str]], title: str = "") -> list[Markup]:
        """Labels under the plotting area at x values, and the axis' title below them."""
        labels = [label(text, self.x(x), self.y.start + 18, "middle", "tick") for x, text in places]
        if not title:
            return labels
        middle = (self.x.start + self.x.end) / 2
        return [*labels, label(title, middle, self.y.start + 38, "middle", "axis")]


def lines_chart(
    title: str,
    lines: Sequence[Line],
    foot: Sequence[str],
    marks: Mapping[int, str] | None = None,
    height: float = 380,
) -> Markup:
    """Lines over evenly spaced places, each named at its right end; `marks` are named points.

    Args:
        title: what the picture shows, for its alternative text.
        lines: values at each place; the first line carries the marks.
        foot: a label for each place; drawn where there is room.
        marks: index of a place to the name of its mark.
        height: of the picture.
    """
    known = [v for line in lines for v in line.values if v is not None]
    if not known:
        return Markup("")
    places = len(foot)
    frame = Frame(
        Scale(-0.3, max(places, 2) - 1 + 0.15, 52, 352),
        Scale(*padded(known, 0.02), height - 34, 26),
    )
    every = -(-places // 7)
    shown = [(i, text) for i, text in enumerate(foot) if (places - 1 - i) % every == 0]
    drawn = [part for line in lines for part in _line(frame, line)]
    return picture(
        title,
        "; ".join(f"{line.name} {decimal(_last(line)[1])}" for line in lines if _known(line)),
        *frame.grid(_digits(frame.y)),
        *frame.foot(shown),
        *_marks(frame, lines[0], marks or {}),
        *drawn,
        *_end_labels(frame, [line for line in lines if _known(line)]),
        width=WIDTH,
        height=height,
    )


def _line(frame: Frame, line: Line) -> list[Markup]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(line.values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((frame.x(index), frame.y(value)))
    strokes = [path(piece, f"line {line.class_}") for piece in pieces if len(piece) > 1]
    # Dots crowd a long line; a lone value has nothing else.
    dense = len(line.values) > 31
    dots = [
        element("circle", cx=x, cy=y, r=3, class_=f"dot {line.class_}")
        for piece in pieces
        for x, y in piece
        if not dense or len(piece) == 1
    ]
    return strokes + dots


def _marks(frame: Frame, line: Line, marks: Mapping[int, str]) -> list[Markup]:
    drawn = []
    free_from = 0.0
    for index, name in sorted(marks.items()):
        x = frame.x(index)
        drawn.append(
            element("line", x1=x, x2=x, y1=frame.y.end - 6, y2=frame.y.start, class_="mark")
        )
        if x - 14 >= free_from:
            drawn.append(label(name, x, frame.y.end - 11, "middle", "mark-name"))
            free_from = x + 14
    return drawn


def _end_labels(frame: Frame, lines: Sequence[Line]) -> list[Markup]:
    ends = [_last(line) for line in lines]
    rows = spread([frame.y(v) for _, v in ends], 17, frame.y.end + 4, frame.y.start - 4)
    return [
        label(f"{line.name} {decimal(value)}", frame.x.end + 10, row + 4, "start", line.class_)
        for line, (_, value), row in zip(lines, ends, rows, strict=True)
    ]


def _known(line: Line) -> bool:
    return any(value is not None for value in line.values)


def _last(line: Line) -> tuple[int, float]:
    return max((i, value) for i, value in enumerate(line.values) if value is not None)


def _digits(scale: Scale) -> int:
    marks = ticks(scale.low, scale.high)
    step = marks[1] - marks[0] if len(marks) > 1 else 1
    return 3 if step < 0.0099 else 2


def interval_chart(contest: Mapping[str, object]) -> Markup:
    """The gain with its interval on a line, beside zero and, where it is known, the bar."""
    gain, low, high = (as_number(contest.get(key)) for key in ("gain", "low", "high"))
    if gain is None or low is None or high is None:
        return Markup("")
    bar = as_number(contest.get("min_gain")) or None
    marks = [0.0, *([bar] if bar is not None else [])]
    x = Scale(*padded([gain, low, high, *marks], 0.01), 16, WIDTH - 16)
    middle, bottom = 72.0, 106.0
    rules = [
        element("line", x1=x(m), x2=x(m), y1=middle - 34, y2=bottom, class_=name)
        for m, name in zip(marks, ("zero", "bar-line"), strict=False)
    ]
    foot = [label(_tick(t), x(t), bottom + 18, "middle", "tick") for t in ticks(x.low, x.high, 6)]
    names = [label("the champion", x(0), 16, _anchor(x, 0.0), "axis")]
    if bar is not None:
        names = [
            label("champion", x(0) - 5, 16, "end" if x(0) > 80 else "start", "axis"),
            label(
                f"min_gain {bar:g}", x(bar) + 5, 30 if x(0) <= 80 else 16, _after(x, bar), "axis"
            ),
        ]
    return picture(
        "Challenger's gain in impression AUC with its interval",
        f"gain {signed(gain)}, interval {signed(low)} to {signed(high)}",
        element("line", x1=x.start, x2=x.end, y1=bottom, y2=bottom, class_="grid"),
        *rules,
        *foot,
        *names,
        element("line", x1=x(low), x2=x(high), y1=middle, y2=middle, class_="interval"),
        *(
            element("line", x1=x(v), x2=x(v), y1=middle - 8, y2=middle + 8, class_="interval")
            for v in (low, high)
        ),
        element("circle", cx=x(gain), cy=middle, r=6, class_="dot challenger"),
        label(signed(gain), x(gain), middle - 14, _anchor(x, gain), "challenger strong"),
        label("gain in impression AUC over the champion", WIDTH / 2, bottom + 38, "middle", "axis"),
        width=WIDTH,
        height=152,
    )


def _tick(value: float) -> str:
    return signed(value, 3) if value else "0"


def _anchor(x: Scale, value: float) -> str:
    if x(value) < x.start + 50:
        return "start"
    return "end" if x(value) > x.end - 50 else "middle"


def _after(x: Scale, value: float) -> str:
    return "end" if x(value) > x.end - 100 else "start"


def roc_chart(curves: Mapping[str, Sequence[Point]]) -> Markup:
    """True against false positive rate of each named model, [[fpr, tpr], …]."""
    frame = _square(1.0, 1.0)
    return _curves(
        "ROC over all rows", frame, curves, "share of skips above", "share of clicks above"
    )


def calibration_chart(curves: Mapping[str, Sequence[Point]]) -> Markup:
    """Observed click rate of each named model by predicted, [[predicted, observed, rows], …]."""
    top = max((max(p[0], p[1]) for points in curves.values() for p in points), default=1.0)
    frame = _square(top * 1.06 or 1.0, top * 1.06 or 1.0)
    return _curves(
        "Observed against predicted click rate", frame, curves, "predicted", "clicked", dots=True
    )


def _square(right: float, top: float) -> Frame:
    return Frame(Scale(0, right, 56, 356), Scale(0, top, 330, 30))


def _curves(
    title: str,
    frame: Frame,
    curves: Mapping[str, Sequence[Point]],
    x_title: str,
    y_title: str,
    *,
    dots: bool = False,
) -> Markup:
    digits = 1 if frame.y.high > 0.5 else 2 if frame.y.high > 0.05 else 3
    foot = [(t, f"{t:.{digits}f}") for t in ticks(0, frame.x.high)]
    corner = min(frame.x.high, frame.y.high)
    parts = [path([(frame.x(0), frame.y(0)), (frame.x(corner), frame.y(corner))], "diagonal")]
    for row, (name, points) in enumerate(curves.items()):
        spots = [(frame.x(p[0]), frame.y(p[1])) for p in points]
        if len(spots) > 1:
            parts.append(path(spots, f"line {name}"))
        if dots:
            parts += [element("circle", cx=x, cy=y, r=3, class_=f"dot {name}") for x, y in spots]
        y = frame.y.start - 14 - 18 * (len(curves) - 1 - row)
        parts.append(label(name, frame.x.end - 8, y, "end", f"{name} strong"))
    return picture(
        title,
        f"{y_title} by {x_title} for {' and '.join(curves)}",
        *frame.grid(digits),
        *frame.foot(foot, x_title),
        label(y_title, 8, 16, "start", "axis"),
        *parts,
        width=384,
        height=376,
    )


def bar(value: object, full: float, *, mark: float | None = None, tone: str = "calm") -> Markup:
    """A bar for a table's cell, `full` at most, with a tick at `mark`; the cell says the value."""
    width, height = 160.0, 14.0
    x = Scale(0, full or 1.0, 0, width)
    parts = [
        element("rect", x=0, y=2, width=width, height=10, class_="track"),
        element("rect", x=0, y=2, width=x(as_number(value) or 0), height=10, class_=f"fill {tone}"),
    ]
    if mark is not None:
        parts.append(element("line", x1=x(mark), x2=x(mark), y1=0, y2=height, class_="threshold"))
    return element(
        "svg", *parts, viewBox=f"0 0 {width:g} {height:g}", class_="bar", aria_hidden="true"
    )
