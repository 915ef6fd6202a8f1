"""Which segments moved, as a person would say it: `sports: 31 % of candidates, was 12 %`."""

from collections.abc import Sequence

import numpy as np

from tasks.drift.measures import Shares


def percent(share: float) -> str:
    """`31 %`; two figures below a tenth: `4.2 %`."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def moved(labels: Sequence[str], before: Shares, now: Shares, unit: str) -> str:
    """The two segments whose shares moved most, the largest first.

    Args:
        labels: (B,) their names.
        before: (B,) shares in the reference.
        now: (B,) shares now.
        unit: what they are shares of: `of candidates`.
    """
    most = np.argsort(-np.abs(now - before), kind="stable")[:2]
    return "; ".join(
        f"{labels[i]}: {percent(now[i])} {unit}, was {percent(before[i])}" for i in most
    )
