"""Whether readers click more or less on the same items: what a day's items are like is left out.

A day's click rate moves with its stories. Here an item is held against itself: Mantel and Haenszel's
ratio of rates, each item a stratum, in which the items of one side alone weigh nothing.
"""

import math

from tasks.drift.effect import Effect
from tasks.drift.profile import Profile
from tasks.drift.rates import design
from tasks.drift.words import percent

LEAST_CLICKS = 20.0
"""Clicks on items of both sides, on either: fewer say nothing."""


def measure(reference: Profile, current: Profile) -> Effect | None:
    """|ln| of the ratio of click rates over the items that both sides have.

    Σ c n′ / t over Σ c′ n / t, with c of n rows now, c′ of n′ before and t = n + n′. Its variance is
    Greenland and Robins', times how much more clicks vary than rows drawn one by one.

    Sources: Mantel and Haenszel (1959), JNCI 22; Greenland and Robins (1985), Biometrics 41.
    """
    before, now = reference.mixes.get("item"), current.mixes.get("item")
    if before is None or now is None:
        return None
    names = sorted({*before.values} & {*now.values})
    old_rows, rows = before.rows_of(names), now.rows_of(names)
    old_clicks, clicks = before.clicks_of(names), now.clicks_of(names)
    if min(old_clicks.sum(), clicks.sum()) < LEAST_CLICKS:
        return None
    total = old_rows + rows
    upper, lower = (clicks * old_rows / total).sum(), (old_clicks * rows / total).sum()
    spread = (rows * old_rows * (clicks + old_clicks) - clicks * old_clicks * total) / total**2
    extra = max(design(reference), design(current), 1.0)
    rate, share = clicks.sum() / rows.sum(), rows.sum() / now.total
    return Effect(
        "clicks_on_same_items",
        "log ratio",
        abs(math.log(upper / lower)),
        math.sqrt(extra * spread.sum() / (upper * lower)),
        f"{percent(rate)} clicked of items shown before, was {percent(rate * lower / upper)}; "
        f"they are {percent(share)} of candidates",
    )
