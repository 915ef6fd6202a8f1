"""How well a candidate's text fits the texts that its user has read: cosines and what sums them up.

Shapes: N rows, S slates, C candidates of a slate, H history length, I items, D embedding width,
M match features.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.recommender.slates import Slates

NAMES = ("mean", "max", "recent", "top", "attention", "dislike_mean", "dislike_max", "taste")
TOP = 5
"""Closest history entries that `top` averages."""
RECENT = 10
"""Newest history entries that `recent` averages."""
TASTE_SHARPNESS = 8.0
"""An entry at cosine c to the candidate speaks for it with weight exp(8 (c − 1))."""
TASTE_STRENGTH = 0.05
"""Weight of the user's mean opinion against what similar entries say."""
CELLS = 1 << 20
"""Cosines computed at once."""


class Matches(NamedTuple):
    """Cosines of each row's candidate with its slate's history, newest entry first."""

    cosine: torch.Tensor
    liked: torch.Tensor
    """Whether there is a liked entry with a text, and the candidate has one too."""
    disliked: torch.Tensor

    def rows(self, index: torch.Tensor | slice) -> "Matches":
        """The matches of some rows."""
        return Matches(self.cosine[index], self.liked[index], self.disliked[index])


def match(vectors_ID: torch.Tensor, slates: Slates, known: NDArray[np.bool_]) -> Matches:
    """Cosines of all candidates with their histories; differentiable in the vectors.

    Args:
        vectors_ID: unit vectors of the items by number.
        slates: numbers of candidates and histories.
        known: (I,) whether the item has a text at all.
    """
    entry_known = (slates.history >= 0) & known[np.maximum(slates.history, 0)]
    usable = entry_known[slates.slate] & known[slates.candidate][:, None]
    liked = usable & slates.liked[slates.slate]
    return Matches(
        _cosines(vectors_ID, slates),
        torch.from_numpy(liked).to(vectors_ID.device),
        torch.from_numpy(usable & ~liked).to(vectors_ID.device),
    )


def _cosines(vectors_ID: torch.Tensor, slates: Slates) -> torch.Tensor:
    """(N, H) by blocks of slates of like size, so that padding wastes little."""
    sizes, starts, depth = slates.sizes, slates.starts, slates.history.shape[1]
    order = np.argsort(sizes, kind="stable")
    cells = np.cumsum(sizes[order]) * depth // CELLS
    found, rows = [], []
    for block in np.split(order, np.flatnonzero(np.diff(cells)) + 1):
        widest = sizes[block].max()
        place = starts[block][:, None] + np.minimum(np.arange(widest), sizes[block][:, None] - 1)
        real = np.arange(widest) < sizes[block][:, None]
        candidates_SCD = vectors_ID[torch.from_numpy(slates.candidate[place])]
        history_SHD = vectors_ID[torch.from_numpy(np.maximum(slates.history[block], 0))]
        cosine_SCH = candidates_SCD @ history_SHD.transpose(1, 2)
        found.append(cosine_SCH[torch.from_numpy(real)])
        rows.append(place[real])
    where = torch.from_numpy(np.argsort(np.concatenate(rows), kind="stable"))
    return torch.cat(found)[where]


def fixed_features(matches: Matches) -> torch.Tensor:
    """(N, M) features in the order of NAMES, `attention` still 0; 0 where nothing matches."""
    cosine, liked, disliked = matches
    newest = torch.arange(cosine.shape[1], device=cosine.device) < RECENT
    top = cosine.masked_fill(~liked, -2).topk(min(TOP, cosine.shape[1]), dim=1).values
    features = [
        _mean(cosine, liked),
        _max(cosine, liked),
        _mean(cosine, liked & newest),
        _mean(top, top > -2),
        torch.zeros_like(cosine[:, 0]),
        _mean(cosine, disliked),
        _max(cosine, disliked),
        _taste(matches),
    ]
    return torch.stack(features, dim=1)


def _taste(matches: Matches) -> torch.Tensor:
    """(N,) how much more the user likes entries like the candidate than entries at large.

    A kernel average of the user's opinions, 1 or 0, around their mean; 0 without a dislike.
    """
    cosine, liked, disliked = matches
    read = liked | disliked
    mean = (liked.sum(1, keepdim=True) + 1) / (read.sum(1, keepdim=True) + 2)
    weight = (TASTE_SHARPNESS * (cosine - 1)).exp() * read
    told = ((liked.to(cosine.dtype) - mean) * weight).sum(1) / (weight.sum(1) + TASTE_STRENGTH)
    return told * disliked.any(1)


def attended(matches: Matches, sharpness: torch.Tensor, fading: torch.Tensor) -> torch.Tensor:
    """(N,) mean cosine weighted by softmax(sharpness · cosine − fading · log(1 + place)).

    Sharpness 0 and fading 0 is the plain mean; a large sharpness comes near the maximum.
    """
    cosine, liked, _ = matches
    place = torch.arange(cosine.shape[1], device=cosine.device, dtype=cosine.dtype)
    energy = sharpness * cosine - fading * torch.log1p(place)
    weight = energy.masked_fill(~liked, -1e4).softmax(dim=1) * liked
    return (weight * cosine).sum(1)


def _mean(value_NH: torch.Tensor, chosen_NH: torch.Tensor) -> torch.Tensor:
    return (value_NH * chosen_NH).sum(1) / chosen_NH.sum(1).clamp(min=1)


def _max(value_NH: torch.Tensor, chosen_NH: torch.Tensor) -> torch.Tensor:
    best = value_NH.masked_fill(~chosen_NH, -2).amax(1)
    return torch.where(chosen_NH.any(1), best, torch.zeros_like(best))
