"""The section `drift` of pipelines.yaml: what counts as a changed world."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.knobs import STRICT, Digits

Size = Annotated[float, Field(gt=0), Digits]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What counts as a changed world."""

    __pydantic_config__ = STRICT

    thresholds: dict[str, Size] = field(default_factory=dict)
    """Smallest shift that matters, by column; the others keep their default."""
    rolling_days: Annotated[int, Field(ge=5, le=28), Digits] = 7
    """A day is held against so many days before it: a week has every weekday."""
    classifier: bool = False
    """Also ask a classifier to tell the day's texts from the reference's; takes about a second."""
    false_alarm_days: Annotated[int, Field(ge=10, le=3650), Digits] = 60
    """Days in which a pipeline where nothing happens has one false alarm, over all columns."""
