"""The head: from match and behaviour features to a click probability's log-odds.

It starts as the zero-shot score, and learns what to add to it: logit = calibrate(zero-shot score +
residual), with a residual that is exactly 0 before any training.

Shapes: N rows, I items, D embedding width, M match features, F match and behaviour features, L
landmarks, P weights of the residual.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from tasks.recommender import behaviour, match
from tasks.recommender.item_prior import ItemPrior

NUM_MATCH = len(match.NAMES)
NUM_FEATURES = NUM_MATCH + len(behaviour.NAMES)
NUM_WAVES = 256
"""Random waves over the features: enough that two draws of them rank alike."""
WAVE_FREQUENCY = 0.2
"""Features at distance 5 from each other, in deviations, are told apart."""
FARTHEST = 4.0
"""Deviations beyond which a feature says no more: a wave would turn round there."""

MATCH_MIX = {"mean": 5.0, "max": 1.5, "recent": 1.5}
"""The zero-shot score of a history without dislikes, in log-odds for each unit of cosine."""
MATCH_CENTRE = 0.8
"""What an average candidate of a news portal has, and what a row without any text is given."""
USER_MIX = 0.5
"""Weight of the user's rate and of the recent one, where histories hold dislikes."""
TYPICAL_SLATE = 20.0
"""Slate size at which the calibration's size term is 0."""


class Features(NamedTuple):
    """All that the head reads of N rows."""

    matches: match.Matches
    text: torch.Tensor
    behaviour: torch.Tensor
    log_size: torch.Tensor
    """Log of the slate's size over TYPICAL_SLATE: one of many is clicked less often."""
    vectors: torch.Tensor
    """(I, D) unit vectors of all items; zeros for one without text."""
    candidate: torch.Tensor
    """(N,) the row's item among them."""

    def rows(self, index: torch.Tensor | slice) -> "Features":
        """The features of some rows."""
        return Features(
            self.matches.rows(index),
            self.text[index],
            self.behaviour[index],
            self.log_size[index],
            self.vectors,
            self.candidate[index],
        )


class HybridHead(nn.Module):
    """Zero-shot score plus a residual that is linear in what it learns.

    residual = w · x + a · √(2/M) cos(Ω x + b) + o · φ(item), with x the standardised features. The second
    term is a Gaussian process over the features, by M random waves; the third is one over the
    candidate's text, and tells how well items like it are liked by everyone (`item_prior`).

    Source: Rahimi and Recht (2007), random features.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    waves: torch.Tensor
    phases: torch.Tensor
    landmarks: torch.Tensor
    information: torch.Tensor
    """(P, P) curvature of what was learned, or with landmarks (P,) its diagonal: (P, P) would be 4 MB."""
    rated: torch.Tensor
    """1 where the log's histories hold dislikes: then one without any is a user who likes a lot."""
    slope: torch.Tensor
    offset: torch.Tensor
    size_slope: torch.Tensor

    def __init__(self, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.zeros(NUM_FEATURES))
        self.mixed = nn.Parameter(torch.zeros(NUM_WAVES))
        self.opinion = nn.Parameter(torch.zeros(0))
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.fading = nn.Parameter(torch.tensor(0.0))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("waves", WAVE_FREQUENCY * torch.randn(NUM_FEATURES, NUM_WAVES))
        self.register_buffer("phases", 2 * math.pi * torch.rand(NUM_WAVES))
        self.register_buffer("landmarks", torch.zeros(0, 0))
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("deviation", torch.ones(NUM_FEATURES))
        self.register_buffer("slope", torch.tensor(1.0))
        self.register_buffer(
            "offset", torch.tensor(math.log(behaviour.PRIOR_RATE / (1 - behaviour.PRIOR_RATE)))
        )
        self.register_buffer("size_slope", torch.tensor(0.0))
        self.register_buffer("rated", torch.tensor(0.0))
        self.register_buffer("information", torch.zeros(0, 0))
        self._prior: ItemPrior | None = None

    @property
    def untrained(self) -> bool:
        """Whether the residual is 0 for every row: the head is the zero-shot score."""
        return not any(bool(weight.any()) for weight in (self.linear, self.mixed, self.opinion))

    def forward(self, features: Features) -> torch.Tensor:
        """(N,) log-odds of a click."""
        raw = self.rank(features)
        return self.slope * raw + self.offset + self.size_slope * features.log_size

    def rank(self, features: Features) -> torch.Tensor:
        """(N,) what the candidates are ranked by, before calibration."""
        return zero_shot_score(features, rated=self.rated) + self.residual(features)

    def residual(self, features: Features) -> torch.Tensor:
        """(N,) what training has added to the zero-shot score."""
        return self.design(features) @ torch.cat([self.linear, self.mixed, self.opinion])

    def design(self, features: Features) -> torch.Tensor:
        """(N, P) what each weight of the residual is multiplied by: linear, waves, item prior."""
        values_NF = self.dropout(self.standardised(features))
        angle_NM = values_NF.clamp(-FARTHEST, FARTHEST) @ self.waves + self.phases
        columns = [values_NF, angle_NM.cos() * math.sqrt(2 / NUM_WAVES)]
        if self._prior is not None:
            items, row = features.candidate.unique(return_inverse=True)
            columns.append(self._prior.read(features.vectors[items])[row])
        return torch.cat(columns, dim=1)

    def set_landmarks(self, landmarks_LD: torch.Tensor) -> None:
        """Give the item prior these items' vectors to compare with; its weights start at 0."""
        self.landmarks = landmarks_LD.to(self.linear.device)
        self.opinion = nn.Parameter(torch.zeros(len(landmarks_LD), device=self.linear.device))
        self._prior = ItemPrior(self.landmarks) if len(landmarks_LD) else None

    def forget(self) -> None:
        """Know nothing of how surely the weights were learned."""
        num = len(self.linear) + len(self.mixed) + len(self.opinion)
        shape = (num,) if len(self.opinion) else (num, num)
        self.information = torch.zeros(shape, device=self.linear.device)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As torch does, for any number of landmarks and whatever is remembered."""
        landmarks = state_dict.get("landmarks")
        if landmarks is not None and not torch.equal(landmarks.to(self.landmarks), self.landmarks):
            self.set_landmarks(landmarks.float())
        information = state_dict.get("information")
        if information is not None:
            self.information = torch.zeros(information.shape, device=self.linear.device)
        return super().load_state_dict(state_dict, *args, **kwargs)

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


def zero_shot_score(features: Features, *, rated: torch.Tensor | None = None) -> torch.Tensor:
    """(N,) what is known without any shot: text, and what the user's own history says.

    Where histories hold likes alone, the weighted mean, maximum and most recent cosine; 0 for rows
    without text. Where they hold dislikes too, how the user takes to items like this one, and how
    often the user likes anything, which cancels within a slate.

    Args:
        features: of the rows.
        rated: above 0, the log is known to hold dislikes, whatever a single history says.
    """
    names = match.NAMES.index
    mixed = sum(weight * features.text[:, names(name)] for name, weight in MATCH_MIX.items())
    similar = (mixed - MATCH_CENTRE) * has_text(features)
    rates = [behaviour.NAMES.index(name) for name in behaviour.USER_RATES]
    user = USER_MIX * features.behaviour[:, rates].sum(1)
    opinions = features.matches.disliked.any(1)
    if rated is not None:
        opinions = opinions | (rated > 0)
    return torch.where(opinions, features.text[:, names("taste")] + user, similar)
