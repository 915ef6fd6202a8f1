"""What the simulated portal is like, and what changes on which day."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tasks.errors import ConfigError
from tasks.simulator.curves import examination
from tasks.simulator.vocabulary import TOPICS

DEFAULT_STRENGTHS = {
    "category_mix": 0.2,
    "click_rate": -0.35,
    "new_topic": 0.3,
    "new_vocabulary": 1.0,
    "position_mix": 0.25,
}
"""By kind of shift; at these, drift measures notice a day of 20,000 candidate rows."""

SECOND_PAGE = 0.1
"""Share of slates read on the second page, whose positions go on where the first page ends."""

MAX_ROWS = 20_000_000

LIFE_IN_HALF_LIVES = 6
"""An item leaves the portal when its popularity has fallen to 2⁻⁶."""

SlateOrder = Literal["random", "newest", "best"]


@dataclass(frozen=True)
class Shift:
    """A change of the portal that begins on a day and stays.

    category_mix: the editors give `strength` of all candidates to one category.
    click_rate: every click probability is multiplied by 1 + `strength`.
    new_topic: a topic opens that did not exist; `strength` of the items born have it.
    new_vocabulary: an event that reaches every topic; `strength` of the items born are about it,
        in its words instead of some of their topic's.
    position_mix: `strength` of the slates of the first page are read on the second.
    """

    kind: str
    day: int
    """1 is the first simulated day."""
    strength: float | None = None
    """None takes the kind's entry in DEFAULT_STRENGTHS."""

    def __post_init__(self) -> None:
        if self.kind not in DEFAULT_STRENGTHS:
            raise ConfigError(
                f"A shift cannot be {self.kind!r}. Choose one of {', '.join(DEFAULT_STRENGTHS)}."
            )
        if self.day < 1:
            raise ConfigError(
                f"Shift {self.kind} begins on day {self.day}; 1 is the first simulated day. "
                "Give a day of 1 or more."
            )
        low = -1 if self.kind == "click_rate" else 0
        if not low < self.size <= 1 or self.size == 0:
            raise ConfigError(
                f"Shift {self.kind} has strength {self.size}; it must be above {low}, at most 1 "
                f"and not 0. Leave it out for {DEFAULT_STRENGTHS[self.kind]}."
            )

    @property
    def size(self) -> float:
        """The strength, given or by default."""
        return DEFAULT_STRENGTHS[self.kind] if self.strength is None else self.strength


def parse_shift(text: str) -> Shift:
    """`KIND:DAY` or `KIND:DAY:STRENGTH`, such as `category_mix:5:0.3`.

    Raises:
        ConfigError: it is neither, or not a possible shift.
    """
    kind, _, rest = text.partition(":")
    day, _, strength = rest.partition(":")
    try:
        return Shift(kind, int(day), float(strength) if strength else None)
    except ValueError as error:
        raise ConfigError(
            f"Shift {text!r} is not KIND:DAY or KIND:DAY:STRENGTH. "
            "Write it like category_mix:5 or category_mix:5:0.3."
        ) from error


@dataclass(frozen=True)
class SimulatorSettings:
    """A portal. The same settings give the same bytes.

    Raises:
        ConfigError: a value is out of its range; all that are, at once.
    """

    seed: int = 7
    num_users: int = 1_000
    """Readers; they come back day after day, some far more often than others."""
    impressions_per_day: int = 2_000
    """On an average day; a Saturday has fewer, a Tuesday more."""
    slate_size: int = 10
    """Candidates of an impression."""
    topics: int = 12
    """Topics that exist from the first day."""
    births_per_day: int = 150
    """Items published a day."""
    half_life_days: float = 1.0
    """After so long an item is shown half as often as when it was published."""
    click_rate: float = 0.12
    """Mean click probability of the first day's candidates before any shift."""
    position_bias: float = 0.3
    """Exponent of the examination curve; 0 has none."""
    slate_order: SlateOrder = "random"
    """How a slate is laid out: as drawn, so that a position tells nothing of its items; the newest
    item first, which says nothing of what a reader wants; or what suits the reader best first, as
    far as a portal's own ranker can tell."""
    personal_share: float = 0.4
    """Share of candidates chosen for the reader's interests; the others are what is popular."""
    interest_weight: float = 1.2
    """Log-odds of a click by one standard deviation of the reader's interest in the topic."""
    appeal_weight: float = 1.0
    """Log-odds of a click by one standard deviation of the item's appeal."""
    wander_per_day: float = 0.1
    """How far interests move: 0 never, 1 are new every day; correlation over a day is √(1 − w²)."""
    late_share: float = 0.01
    """Share of a day's impressions that are delivered with the next day's files."""
    duplicate_share: float = 0.01
    """Share of a day's rows that are delivered twice."""
    malformed_share: float = 0.01
    """Share of a day's rows that are damaged, in equal parts by each of the MALFORMED kinds."""
    shifts: tuple[Shift, ...] = ()

    def __post_init__(self) -> None:
        # values out of range would make nonsense of the rules that combine them
        faults = [*self._counts(), *self._shares()] or self._combinations()
        if self.slate_order not in get_args(SlateOrder):
            faults.append(
                f"slate_order is {self.slate_order!r}. Choose one of {', '.join(get_args(SlateOrder))}."
            )
        if faults:
            raise ConfigError("\n".join(faults))

    def _counts(self) -> list[str]:
        least = {
            "seed": 0,
            "num_users": 1,
            "impressions_per_day": 1,
            "slate_size": 2,
            "topics": 1,
            "births_per_day": 1,
        }
        return [
            f"{name} is {getattr(self, name)!r}; it must be a whole number of {low} or more. "
            "Change it."
            for name, low in least.items()
            if not isinstance(getattr(self, name), int) or getattr(self, name) < low
        ]

    def _shares(self) -> list[str]:
        ranges = {
            "half_life_days": (0.05, 365.0),
            "click_rate": (0.001, 0.5),
            "position_bias": (0.0, 3.0),
            "personal_share": (0.0, 1.0),
            "interest_weight": (0.0, 5.0),
            "appeal_weight": (0.0, 5.0),
            "wander_per_day": (0.0, 1.0),
            "late_share": (0.0, 0.4),
            "duplicate_share": (0.0, 0.25),
            "malformed_share": (0.0, 0.25),
        }
        return [
            f"{name} is {getattr(self, name)}; it must lie in {low:g} to {high:g}. Change it."
            for name, (low, high) in ranges.items()
            if not low <= getattr(self, name) <= high
        ]

    def _combinations(self) -> list[str]:
        faults = []
        rows = self.impressions_per_day * self.slate_size
        if rows > MAX_ROWS:
            faults.append(
                f"impressions_per_day times slate_size is {rows:,} rows; a day is built in memory "
                f"and has at most {MAX_ROWS:,}. Lower one of them."
            )
        if self.topics + self.opened_topics > len(TOPICS):
            faults.append(
                f"{self.topics} topics and {self.opened_topics} new ones are more than the "
                f"{len(TOPICS)} that have words. Lower `topics`."
            )
        if self.live_items < 3 * self.slate_size:
            faults.append(
                f"About {self.live_items:.0f} items are live at a time, fewer than three slates of "
                f"{self.slate_size}. Raise `births_per_day` or `half_life_days`."
            )
        looked = examination(np.arange(1, self.slate_size + 1), self.position_bias).mean()
        if self.click_rate > 0.8 * looked:
            faults.append(
                f"click_rate {self.click_rate} is out of reach where {looked:.0%} of the candidates "
                f"are looked at. Lower it below {0.8 * looked:.2f}, or lower `position_bias`."
            )
        return faults

    @property
    def opened_topics(self) -> int:
        """How many topics the shifts open."""
        return sum(shift.kind == "new_topic" for shift in self.shifts)

    @property
    def live_items(self) -> float:
        """How many items the portal has at a time, about."""
        return self.births_per_day * self.half_life_days * LIFE_IN_HALF_LIVES
