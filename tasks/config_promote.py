"""The section `promote` of pipelines.yaml: the bar for going live."""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from tasks.config_finetune import Complaints
from tasks.evaluation.limits import Guardrails
from tasks.knobs import STRICT, Digits

REPLACED = (
    "confidence: is replaced by false_promotions_a_year, the promotions without a true gain that a "
    "year of daily contests may have (1 by default); remove confidence"
)
"""What an operator is told who still has the key of earlier versions."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Promote:
    """The bar for going live."""

    min_gain: Annotated[float, Field(ge=0, lt=0.5), Digits]
    """Impression AUC that the challenger must gain over the champion."""
    false_promotions_a_year: Annotated[float, Field(gt=0, le=150), Digits] = 1.0
    """Challengers below the bar that may go live in a year of daily contests, however often each is
    judged. Lower: surer, and later."""
    holdout_share: Annotated[float, Field(gt=0, lt=1), Digits] = 0.3
    """Share of the day's impressions, the latest ones, on which both are judged."""
    min_impressions: Annotated[int, Field(ge=2), Digits] = 100
    """Fewest judged impressions for any verdict."""
    shadow_days: Annotated[int, Field(ge=0, le=60), Digits] = 7
    """Days after its own on which a challenger without enough evidence is judged again; 0: none."""
    shadows: Annotated[int, Field(ge=1, le=50), Digits] = 3
    """Most challengers in shadow at once: each is one more model to score a day with."""
    approval: Literal["automatic", "manual"] = "automatic"
    """manual: a challenger that won waits for a person's `dayspring approve`."""

    guardrails: Guardrails = field(default_factory=Guardrails)
    """What a challenger must not break while it gains, each with a verdict of its own."""

    @model_validator(mode="before")
    @classmethod
    def _tells_what_replaced_confidence(cls, given: Any) -> Any:
        written = getattr(given, "kwargs", given)
        if isinstance(written, dict) and "confidence" in written:
            raise Complaints([REPLACED])
        return given

    @property
    def looks(self) -> int:
        """Most days on which one challenger is judged."""
        return 1 + self.shadow_days
