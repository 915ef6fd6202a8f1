"""What a challenger must show before it goes live, and what error it may spend in showing it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """The bar of one challenger, over all the days on which it is judged."""

    min_gain: float
    """Impression AUC that the challenger must gain over the champion, 0 or more."""
    level: float
    """Probability, over all its looks, that a challenger whose gain is below the bar goes live."""
    min_impressions: int
    """Fewest judged impressions for any verdict."""
    looks: int
    """Most days on which it can be judged: the first, and each day in shadow."""


def challenger_level(false_promotions_a_year: float, contests_a_year: int = 365) -> float:
    """One challenger's part of the year's budget; their sum is the expected number of errors."""
    return false_promotions_a_year / contests_a_year
