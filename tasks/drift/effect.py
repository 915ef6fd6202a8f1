"""One column's shift: its size, what sampling alone would show, and which segments moved."""

import math
from dataclasses import dataclass

from tasks.drift import measures


@dataclass(frozen=True)
class Effect:
    """One column's shift; `column` and `measure` together name it."""

    column: str
    measure: str
    value: float
    """Its size as observed, sampling included: at least 0, nothing taken off."""
    noise: float
    """Root mean square of `value` if nothing had changed, both sizes given: squares add."""
    words: str
    """The segments that moved most: share now, share before."""
    degrees: float = 1.0
    """Of freedom: if nothing had changed, degrees × (value / noise)² is about χ² with so many."""

    @property
    def shift(self) -> float:
        """Best estimate of the true shift: √(value² − noise²), 0 where noise exceeds it."""
        return math.sqrt(max(self.value**2 - self.noise**2, 0.0))

    @property
    def chance(self) -> float:
        """Probability that sampling alone shows so much or more."""
        return measures.chance(self.value, self.noise, self.degrees)
