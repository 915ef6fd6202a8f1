"""The rules that ask for a fine-tuning run; `pipelines.yaml` names them by the same words."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tasks.knobs import STRICT, Digits

Count = Annotated[int, Field(ge=1), Digits]
Confidence = Annotated[float, Field(gt=0.5, lt=1), Digits]
"""One-sided: how often a bound holds."""


@dataclass(frozen=True)
class Always:
    """Retrain every day."""

    __pydantic_config__ = STRICT
    rule: Literal["always"] = "always"


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """Retrain when the champion is old."""

    __pydantic_config__ = STRICT
    rule: Literal["cadence"] = "cadence"
    every_days: Count
    """Age of the champion's newest training data."""


@dataclass(frozen=True, kw_only=True)
class Amount:
    """Retrain when enough was published that the champion has not seen."""

    __pydantic_config__ = STRICT
    rule: Literal["amount"] = "amount"
    min_rows: Count
    """Published rows later than the champion's newest training data."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Retrain when columns drifted, on the day and often enough in the days before it."""

    __pydantic_config__ = STRICT
    rule: Literal["drift"] = "drift"
    min_columns: Count = 1
    """How many columns make a day one of drift."""
    days: Count = 1
    """How many days of drift there must be among the newest `window_days`, the newest one included."""
    window_days: Count = 1
    """Days looked at, the newest one included; never fewer than `days`."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Retrain when the champion's prequential AUC fell, by more than days and users vary."""

    __pydantic_config__ = STRICT
    rule: Literal["performance"] = "performance"
    max_drop: Annotated[float, Field(gt=0, lt=1), Digits]
    """AUC below the mean of the window before."""
    window_days: Count = 7
    """How many earlier days the fall is measured against; a whole week, for weekdays differ."""
    confidence: Confidence = 0.95
    """That a fall is more than chance: of days on which nothing changed, the others speak."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Retrain when a fine-tune of the champion's head on few shots makes it rank better."""

    __pydantic_config__ = STRICT
    rule: Literal["probe"] = "probe"
    shots: Count = 256
    """Labelled impressions that it learns from, of those that the champion has not seen."""
    confidence: Confidence = 0.9
    """That the gain is above zero: lower asks for more runs, and misses fewer that would help."""


Rule = Annotated[
    Always | Cadence | Drift | Performance | Amount | Probe, Field(discriminator="rule")
]


def name_of(rule: Rule) -> str:
    """What the ledger calls a rule: its kind, and the knobs that make it another one."""
    match rule:
        case Cadence():
            return f"cadence {rule.every_days} d"
        case Amount():
            return f"amount {rule.min_rows:,}"
        case Drift():
            several = f" {rule.days} of {rule.window_days} d" if rule.window_days > 1 else ""
            return f"drift{several}" + (
                f", {rule.min_columns} cols" if rule.min_columns > 1 else ""
            )
        case Performance():
            return f"performance {rule.max_drop:g}"
        case Probe():
            return f"probe {rule.shots}"
    return rule.rule
