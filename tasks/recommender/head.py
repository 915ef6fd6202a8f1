"""The head: from match and behaviour features to a click probability's log-odds.

It starts as the text match alone, and learns what to add to it: logit = calibrate(zero-shot match +
residual), with a residual that is exactly 0 before any training.

Shapes: N rows, H history length, M match features, F match and behaviour features.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from tasks.recommender import behaviour, match

NUM_MATCH = len(match.NAMES)
NUM_FEATURES = NUM_MATCH + len(behaviour.NAMES)
HIDDEN = 16
"""Width of the residual's small network."""

MATCH_MIX = {"mean": 5.0, "max": 1.5, "recent": 1.5}
"""The zero-shot score, in log-odds for each unit of cosine."""
MATCH_CENTRE = 0.8
"""What an average candidate of a news portal has, and what a row without any text is given."""
TYPICAL_SLATE = 20.0
"""Slate size at which the calibration's size term is 0."""


class Features(NamedTuple):
    """All that the head reads of N rows."""

    matches: match.Matches
    text: torch.Tensor
    behaviour: torch.Tensor
    log_size: torch.Tensor
    """Log of the slate's size over TYPICAL_SLATE: one of many is clicked less often."""

    def rows(self, index: torch.Tensor | slice) -> "Features":
        """The features of some rows."""
        return Features(
            self.matches.rows(index),
            self.text[index],
            self.behaviour[index],
            self.log_size[index],
        )


class HybridHead(nn.Module):
    """Zero-shot match plus a residual: linear in all features, and a small network beside it."""

    mean: torch.Tensor
    deviation: torch.Tensor
    slope: torch.Tensor
    offset: torch.Tensor
    size_slope: torch.Tensor

    def __init__(self, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.zeros(NUM_FEATURES))
        self.hidden = nn.Linear(NUM_FEATURES, HIDDEN)
        self.mixed = nn.Parameter(torch.zeros(HIDDEN))
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.fading = nn.Parameter(torch.tensor(0.0))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("deviation", torch.ones(NUM_FEATURES))
        self.register_buffer("slope", torch.tensor(1.0))
        self.register_buffer(
            "offset", torch.tensor(math.log(behaviour.PRIOR_RATE / (1 - behaviour.PRIOR_RATE)))
        )
        self.register_buffer("size_slope", torch.tensor(0.0))

    @property
    def untrained(self) -> bool:
        """Whether the residual is 0 for every row: the head is the zero-shot match."""
        return not (bool(self.linear.any()) or bool(self.mixed.any()))

    def forward(self, features: Features) -> torch.Tensor:
        """(N,) log-odds of a click."""
        raw = self.rank(features)
        return self.slope * raw + self.offset + self.size_slope * features.log_size

    def rank(self, features: Features) -> torch.Tensor:
        """(N,) what the candidates are ranked by, before calibration."""
        return zero_shot_match(features) + self.residual(features)

    def residual(self, features: Features) -> torch.Tensor:
        """(N,) what training has added to the zero-shot match."""
        values_NF = self.dropout(self.standardised(features))
        return values_NF @ self.linear + torch.tanh(self.hidden(values_NF)) @ self.mixed

    def standardised(self, features: Features) -> torch.Tensor:
        """(N, F) features at mean 0 and deviation 1; 0 for what a row without text cannot have."""
        values_NF = (self.raw(features) - self.mean) / self.deviation
        readable = torch.ones_like(values_NF)
        readable[:, :NUM_MATCH] = has_text(features).unsqueeze(1)
        return values_NF * readable

    def raw(self, features: Features) -> torch.Tensor:
        """(N, F) match features with the learned attention in its place, and behaviour."""
        attention = match.attended(features.matches, self.sharpness, self.fading)
        place = match.NAMES.index("attention")
        match_NM = torch.cat(
            [
                features.text[:, :place],
                attention.unsqueeze(1),
                features.text[:, place + 1 :],
            ],
            dim=1,
        )
        return torch.cat([match_NM, features.behaviour], dim=1)

    @torch.no_grad()
    def standardise_on(self, features: Features) -> None:
        """Take mean and deviation of each feature from the shots' rows, which alone may be seen."""
        raw_NF = self.raw(features)
        readable = has_text(features)
        for place in range(NUM_FEATURES):
            values = raw_NF[readable, place] if place < NUM_MATCH else raw_NF[:, place]
            if len(values) > 1:
                self.mean[place] = values.mean()
                # A constant feature stays constant, rather than exploding where it first moves.
                spread = values.std()
                self.deviation[place] = spread if spread > 1e-3 else 1.0


def has_text(features: Features) -> torch.Tensor:
    """(N,) whether the candidate has a text and its user has liked something that has one."""
    return features.matches.liked.any(1)


def zero_shot_match(features: Features) -> torch.Tensor:
    """(N,) weighted mean, maximum and most recent cosine; 0 for rows without text."""
    mixed = sum(
        weight * features.text[:, match.NAMES.index(name)] for name, weight in MATCH_MIX.items()
    )
    return (mixed - MATCH_CENTRE) * has_text(features)
