"""One line of benchmarks/decisions.py: a question to the decisions, and what was measured."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A figure with its interval, beside the goal that it is held against."""

    question: str
    """What is asked, such as "false promotions in a year of daily contests"."""
    setting: str
    """Under which circumstances: sizes, what was planted, which rule."""
    goal: str
    """In words, such as "at most 2"; empty where an alternative is shown for comparison."""
    measured: float
    low: float
    """Lower end of the measured figure's 95 % interval."""
    high: float
    """Upper end."""
    replications: int
    """Independent draws behind the figure."""
    seconds: float
    """That it took to measure."""
    met: bool
    """Whether `measured` reaches the goal; True where there is none."""


def share_interval(hits: int, replications: int) -> tuple[float, float, float]:
    """A share with its 95 % Wilson interval.

    Source: Wilson (1927), JASA 22; recommended by Brown, Cai and DasGupta (2001), Statistical Science 16.
    """
    z = 1.959964
    share = hits / replications
    centre = (share + z**2 / (2 * replications)) / (1 + z**2 / replications)
    spread = share * (1 - share) / replications + (z / (2 * replications)) ** 2
    half = z * math.sqrt(spread) / (1 + z**2 / replications)
    # the formula's own ends at no hit and at all hits, without its rounding
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == replications else centre + half
    return share, low, high
