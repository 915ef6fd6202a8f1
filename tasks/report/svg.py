"""A few SVG primitives: elements with escaped text, scales that never leave their frame, ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape


def element(name: str, *content: str | Markup, **attributes: str | float) -> Markup:
    """An SVG element; text and attributes are escaped, `class_` and `text_anchor` are renamed."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
    )
    inside = Markup("").join(content)
    return Markup(f"<{name}{pairs}>{inside}</{name}>")  # noqa: S704 - both parts are escaped


def _attribute(value: str | float) -> Markup:
    return escape(value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0"))


def picture(title: str, description: str, *content: Markup, width: float, height: float) -> Markup:
    """A whole picture with its words for those who cannot see it."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *content,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_="chart",
        aria_label=title,
    )


@dataclass(frozen=True)
class Scale:
    """A linear map of [low, high] onto [start, end]; what lies outside is drawn at the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where `value` is drawn."""
        span = self.high - self.low
        share = min(1.0, max(0.0, (value - self.low) / span)) if span else 0.5
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers 1, 2 or 5 × 10ⁿ apart within [low, high], at most `most` of them."""
    if high - low < 1e-12:
        return [low]
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 5, 10, 20) if (high - low) / (m * size) <= most - 1 + 1e-9)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def padded(values: Iterable[float], least: float) -> tuple[float, float]:
    """A range around `values`, a tenth wider on both sides and at least `least` wide."""
    known = list(values)
    low, high = min(known), max(known)
    margin = max((high - low) * 0.1, (least - (high - low)) / 2)
    return low - margin, high + margin


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through `points`."""
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element("path", d=f"M{steps}", class_=class_)


def label(text: str, x: float, y: float, anchor: str = "start", class_: str = "") -> Markup:
    """Text whose baseline starts, is centred or ends at (x, y)."""
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """`positions` moved apart, as little as needed, to lie `gap` apart within [low, high]."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = [min(max(p, low), high) for p in positions]
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + gap)
    # What was pushed out below comes back in, and moves up only what it now touches.
    floor = high
    for index in reversed(order):
        placed[index] = min(placed[index], floor)
        floor = placed[index] - gap
    return placed
