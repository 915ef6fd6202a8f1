"""What a challenger must not break while it gains: the limits of the guardrails.

The blocks are plain frozen dataclasses; `pipelines.yaml` names them by the same words. A block that is
null is a rule that is not asked.
"""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from tasks.knobs import STRICT, Digits

Margin = Annotated[float, Field(gt=0, lt=1), Digits]
"""The most that may be lost: a rule passes once a loss of as much is ruled out."""
Share = Annotated[float, Field(ge=0, lt=1), Digits]
Count = Annotated[int, Field(ge=2), Digits]
Kind = Annotated[
    str, Field(pattern=r"^(category|surface|age|popularity|tenure|context\.[A-Za-z0-9_-]+)$")
]


@dataclass(frozen=True)
class SliceLimits:
    """No part of the traffic may pay for the gain of the others."""

    __pydantic_config__ = STRICT
    margin: Margin = 0.03
    """Impression AUC that a slice may lose. Smaller protects more and takes longer to show."""
    min_share: Share = 0.05
    """Share of the judged impressions below which a slice is shown and does not decide."""
    min_impressions: Count = 20
    """Fewest judged impressions of a slice for any verdict on it."""


@dataclass(frozen=True)
class FairnessLimits:
    """The largest gap between groups must not widen: a gap that was there before is no breach."""

    __pydantic_config__ = STRICT
    groups: tuple[Kind, ...] = ("category",)
    """What the groups are told apart by: category, surface, age (cold or warm items), popularity
    (head or tail items), tenure (new or returning users), context.KEY (a key of the log's context)."""
    auc_margin: Margin = 0.05
    """By which the gap in impression AUC may widen."""
    exposure_margin: Margin = 0.2
    """By which the gap in exposure may widen, where 1 is the exposure of a random order."""
    min_share: Share = 0.05
    """Share of the impressions below which a group is left out of the gaps."""
    min_impressions: Count = 20
    """Fewest judged impressions of a group; groups with fewer are left out."""


@dataclass(frozen=True)
class ForgettingLimits:
    """What was learned long ago must still be known: the same contest on an older window."""

    __pydantic_config__ = STRICT
    margin: Margin = 0.03
    """Impression AUC that may be lost there."""
    days_ago: Annotated[int, Field(ge=1), Digits] = 28
    """How many days before the judged day the window ends."""
    impressions: Count = 2000
    """Of the window that are judged: the newest, on as many days as it takes."""
    min_impressions: Count = 100
    """Fewest judged impressions of the window for any verdict."""


@dataclass(frozen=True)
class CalibrationLimits:
    """A score must stay a click probability, for whoever mixes it with other scores."""

    __pydantic_config__ = STRICT
    loss_margin: Margin = 0.02
    """Share of the champion's log loss by which it may rise."""
    expected_margin: Margin = 0.15
    """By which expected over observed clicks may be farther from 1 than the champion's."""


@dataclass(frozen=True)
class LatencyLimits:
    """A better model that is too slow is no better."""

    __pydantic_config__ = STRICT
    times: Annotated[float, Field(gt=1), Digits] = 2.0
    """Most milliseconds a candidate, as a multiple of the champion's."""


@dataclass(frozen=True)
class SizeLimits:
    """Every server fetches the version, and the registry keeps it."""

    __pydantic_config__ = STRICT
    mebibytes: Annotated[float, Field(gt=0), Digits] = 256.0
    """Most that the version's files may take."""


@dataclass(frozen=True)
class Guardrails:
    """The rules that a challenger must pass beside its gain; null leaves one out."""

    __pydantic_config__ = STRICT
    confidence: Annotated[float, Field(gt=0.5, lt=1), Digits] = 0.9
    """That a slice (gap, window) which loses its margin is not passed on any day of the contest."""
    slices: SliceLimits | None = field(default_factory=SliceLimits)
    fairness: FairnessLimits | None = None
    forgetting: ForgettingLimits | None = None
    calibration: CalibrationLimits | None = field(default_factory=CalibrationLimits)
    latency: LatencyLimits | None = field(default_factory=LatencyLimits)
    size: SizeLimits | None = field(default_factory=SizeLimits)
