"""One column's effects over the days: a small picture, many of which fit on a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tasks.report.svg import Scale, element, label, path, picture, ticks

WIDTH, HEIGHT = 320.0, 132.0
Values = Sequence[float | None]


@dataclass(frozen=True)
class EffectSeries:
    """One column over N days; None is a day on which it was not measured."""

    rolling: Values
    """(N,) effect against the days before."""
    champion: Values
    """(N,) effect against the days that the champion learned from."""
    high: Values
    """(N,) upper end of what is usual against the days before; None while it is being learned."""
    flagged: Sequence[str | None]
    """(N,) the reference against which the column drifted, if it did."""
    matters: float = 0.0
    """Smallest shift that matters: the picture reaches at least so far, so that little looks little."""


def effect_chart(name: str, series: EffectSeries, days: Sequence[str]) -> Markup:
    """The effects as two lines, what is usual as a band from 0, drifted days as dots.

    Args:
        name: of the column, for the picture's words.
        series: its effects.
        days: a label for each day.
    """
    known = [v for line in (series.rolling, series.champion, series.high) for v in line if v]
    x = Scale(0, max(len(days) - 1, 1), 44, WIDTH - 8)
    y = Scale(0, 1.1 * (max([series.matters, *known]) or 1.0), HEIGHT - 20, 8)
    drifted = [day for day, flag in zip(days, series.flagged, strict=True) if flag]
    return picture(
        f"{name}: effect by day",
        f"drifted on {', '.join(drifted)}" if drifted else "no day drifted",
        *_bands(series.high, x, y),
        *_grid(x, y),
        *_lines(series.champion, x, y, "line slow"),
        *_lines(series.rolling, x, y, "line rolling"),
        *_dots(series, x, y),
        label(days[0], x.start, HEIGHT - 4, "start", "tick"),
        label(days[-1], x.end, HEIGHT - 4, "end", "tick"),
        width=WIDTH,
        height=HEIGHT,
    )


def _grid(x: Scale, y: Scale) -> list[Markup]:
    marks = ticks(y.low, y.high, 4)
    digits = max(len(f"{mark:.4f}".rstrip("0").partition(".")[2]) for mark in marks)
    rules = [element("line", x1=x.start, x2=x.end, y1=y(m), y2=y(m), class_="grid") for m in marks]
    return rules + [label(f"{m:.{digits}f}", x.start - 6, y(m) + 4, "end", "tick") for m in marks]


def _bands(high: Values, x: Scale, y: Scale) -> list[Markup]:
    areas = []
    for piece in _pieces(high):
        upper = [(x(day), y(value)) for day, value in piece]
        if len(upper) == 1:
            upper = [(x(piece[0][0] - 0.5), upper[0][1]), (x(piece[0][0] + 0.5), upper[0][1])]
        lower = [(place, y(0)) for place, _ in reversed(upper)]
        areas.append(path([*upper, *lower], "band"))
    return areas


def _lines(values: Values, x: Scale, y: Scale, class_: str) -> list[Markup]:
    pieces = [[(x(day), y(value)) for day, value in piece] for piece in _pieces(values)]
    return [path(piece, class_) for piece in pieces if len(piece) > 1]


def _dots(series: EffectSeries, x: Scale, y: Scale) -> list[Markup]:
    """Drifted days, on the line against which they drifted."""
    drawn = []
    for day, reference in enumerate(series.flagged):
        line = series.champion if reference == "champion" else series.rolling
        value = line[day]
        if reference and value is not None:
            drawn.append(element("circle", cx=x(day), cy=y(value), r=4, class_="dot flagged"))
    return drawn


def _pieces(values: Values) -> list[list[tuple[int, float]]]:
    """Runs of known values, each with its day's number."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for day, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((day, value))
    return [piece for piece in pieces if piece]
