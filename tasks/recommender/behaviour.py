"""Behaviour features of each candidate, as of the last completed hour before its impression.

Rates are log-odds above the population's, so a portal whose click rate moves as a whole leaves them
where they are. An item's own rate is shrunk towards that of items with similar titles, which is all
there is to know of one that has hardly been shown.

Shapes: N rows, S slates, H history length, I items, F features.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.recommender.items import Items
from tasks.recommender.slates import Slates
from tasks.recommender.statistics import (
    Counts,
    Floats,
    Ints,
    read_as_of,
    smoothed_logit,
    sweep,
)

if TYPE_CHECKING:
    import torch

NAMES = (
    "item_rate",
    "similar_rate",
    "category_rate",
    "item_impressions",
    "item_clicks",
    "recent_impressions",
    "age",
    "never_shown",
    "category_match",
    "user_rate",
    "recent_user_rate",
    "lasting_rate",
    "lasting_impressions",
)
USER_RATES = ("user_rate", "recent_user_rate")

HALF_LIFE_HOURS = 24.0
"""News fade within a day; longer half-lives ranked MIND's days 9 and 10 no better."""
LASTING_HALF_LIFE_HOURS = 24.0 * 90
"""Half-life of what is thought of an item that does not age, such as a film."""
GROUP_HALF_LIFE_HOURS = 168.0
"""Half-life of the rates of categories and of the population, which change slowly."""
RECENT_HOURS = 3.0
"""Half-life of `recent_impressions`: whether the portal is pushing the item right now."""
LASTING_STRENGTH = 1.5
"""Clicks after which an item's lasting rate weighs as much as the population's."""
PRIOR_RATE = 0.05
"""Click rate assumed of a portal of which nothing is known."""
ITEM_STRENGTH = 30.0
"""Impressions after which an item's own rate weighs as much as that of similar titles."""
GROUP_STRENGTH = 100.0
"""The same for categories and for similar titles, against the population's rate."""
TASTE_STRENGTH = 5.0
"""History entries after which the user's own share of a category outweighs what slates show."""
USER_FADING = 0.7
"""Weight of each history entry in `recent_user_rate`, over that of the next newer one."""
KERNEL_SHARPNESS = 12.0
"""Similar titles weigh exp(12 (cos − 1)): one at cos 0.8 weighs a tenth of the item itself."""
MAX_SIMILAR = 4096
"""Most shown items that a kernel average looks at; it bounds the cost of an hour."""


def behaviour_features(
    slates: Slates, items: Items, counts: Counts, vectors_ID: "torch.Tensor"
) -> NDArray[np.float32]:
    """(N, F) features in the order of NAMES, not yet standardised.

    Similar items are looked for on the device that the items' vectors lie on: on a large day that
    is most of the work.
    """
    item, hour = slates.candidate, slates.hour
    seen = read_as_of(counts, item, hour, half_life_hours=HALF_LIFE_HOURS)
    recent = read_as_of(counts, item, hour, half_life_hours=RECENT_HOURS)
    everyone = _population_seen(counts, hour)
    level = (everyone[:, 1] + GROUP_STRENGTH * PRIOR_RATE) / (everyone[:, 0] + GROUP_STRENGTH)
    similar = _similar_rate(counts, vectors_ID, item, hour, level)
    by_category = counts.grouped(items.category, items.num_categories)
    category = _category_seen(by_category, items.category[item], hour)
    shown_share = (category[:, 0] + 1) / (everyone[:, 0] + max(items.num_categories, 1))
    age, unseen = _age(counts, items, item, hour)
    above = np.log(level / (1 - level))
    lasting = read_as_of(counts, item, hour, half_life_hours=LASTING_HALF_LIFE_HOURS)
    features = [
        smoothed_logit(seen, similar, strength=ITEM_STRENGTH) - above,
        np.log(similar / (1 - similar)) - above,
        smoothed_logit(category, level, strength=GROUP_STRENGTH) - above,
        np.log1p(seen[:, 0]),
        np.log1p(seen[:, 1]),
        np.log1p(recent[:, 0]),
        age,
        unseen,
        _category_match(slates, items, shown_share),
        *user_rates(slates),
        smoothed_logit(lasting, level, strength=LASTING_STRENGTH / level) - above,
        np.log1p(lasting[:, 0]),
    ]
    return np.stack(features, axis=1).astype(np.float32)


def _population_seen(counts: Counts, hour: Ints) -> Floats:
    everything = counts.grouped(np.zeros(counts.num_items, np.int64), 1)
    zero = np.zeros(len(hour), np.int64)
    return read_as_of(everything, zero, hour, half_life_hours=GROUP_HALF_LIFE_HOURS)


def _category_seen(by_category: Counts, category: Ints, hour: Ints) -> Floats:
    if not by_category.num_items:
        return np.zeros((len(hour), 2))
    known = np.maximum(category, 0)
    seen = read_as_of(by_category, known, hour, half_life_hours=GROUP_HALF_LIFE_HOURS)
    return np.where(category[:, None] >= 0, seen, 0.0)


def _similar_rate(
    counts: Counts, vectors_ID: "torch.Tensor", item: Ints, hour: Ints, level: Floats
) -> Floats:
    """(N,) click rate of all items, weighted by how similar their titles are to the candidate's."""
    import torch

    device = vectors_ID.device
    rate = level.copy()
    for rows, state in sweep(counts, hour, half_life_hours=HALF_LIFE_HOURS):
        shown = np.flatnonzero(state[:, 0] > 0.01)
        if len(shown) > MAX_SIMILAR:
            shown = shown[np.argpartition(-state[shown, 0], MAX_SIMILAR)[:MAX_SIMILAR]]
        asked, row = np.unique(item[rows], return_inverse=True)
        cosine = vectors_ID[torch.from_numpy(asked)] @ vectors_ID[torch.from_numpy(shown)].T
        weight = cosine.sub_(1).mul_(KERNEL_SHARPNESS).exp_()
        counted = torch.from_numpy(state[shown].astype(np.float32)).to(device)
        seen = (weight @ counted).double().cpu().numpy()[row]
        rate[rows] = (seen[:, 1] + ITEM_STRENGTH * level[rows]) / (seen[:, 0] + ITEM_STRENGTH)
    return rate


def _age(counts: Counts, items: Items, item: Ints, hour: Ints) -> tuple[Floats, Floats]:
    """Log hours since the item appeared (0 for a new one), and 1 where it was never shown."""
    first = counts.first_hours()[item]
    unseen = first >= hour
    published = items.published_hour[item]
    born = np.where(published < hour, published, np.where(unseen, hour, first))
    return np.log1p(np.maximum(hour - born, 0)), unseen.astype(np.float64)


def _category_match(slates: Slates, items: Items, shown_share: Floats) -> Floats:
    """(N,) log of how much oftener the history has the candidate's category than slates have."""
    category = items.category[slates.candidate]
    liked = np.zeros((len(slates.history), items.num_categories + 1))
    slate, place = np.nonzero(slates.liked)
    # Entries of unknown category fill the last column: number −1.
    np.add.at(liked, (slate, items.category[slates.history[slate, place]]), 1)
    num_liked, expected = liked.sum(1)[slates.slate], shown_share
    share = (liked[slates.slate, category] + TASTE_STRENGTH * expected) / (
        num_liked + TASTE_STRENGTH
    )
    return np.where(category >= 0, np.log(share / expected), 0.0)


def user_rates(slates: Slates) -> list[Floats]:
    """(N,) the user's rate over the whole history, and over its newest entries: USER_RATES."""
    return [_user_rate(slates, fading=fading) for fading in (1.0, USER_FADING)]


def _user_rate(slates: Slates, *, fading: float) -> Floats:
    """(N,) log-odds of a like in the history, shrunk towards even; older entries weigh less."""
    weight = fading ** np.arange(slates.history.shape[1])
    likes = slates.liked @ weight
    dislikes = ((slates.history >= 0) & ~slates.liked) @ weight
    return np.log((likes + 1) / (dislikes + 1))[slates.slate]
