"""The section `retrain` of pipelines.yaml: when to spend a fine-tuning run."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from tasks.config_finetune import Complaints
from tasks.knobs import STRICT, Digits
from tasks.trigger.decide import Policy
from tasks.trigger.rules import Count, Rule

Rules = Annotated[tuple[Rule, ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """When to spend a fine-tuning run: by one of any, all, and vote; without a champion always."""

    __pydantic_config__ = STRICT
    any: Rules | None = None
    """One rule that speaks is enough."""
    all: Rules | None = None
    """Every rule must speak."""
    vote: Count | None = None
    """So many of the rules of `of` must speak."""
    of: Rules | None = None
    """The rules that vote."""
    cool_down_days: Annotated[int, Field(ge=0, le=365), Digits] = 0
    """Days after a training on which no other begins; 0: none."""
    ledger_days: Annotated[int, Field(ge=0, le=30), Digits] = 3
    """Days after a promotion on which the replaced model is scored too, so that `status` can say
    what the training gained; 0: never."""

    @model_validator(mode="after")
    def _names_one_way(self) -> "Retrain":
        if told := [*self._ways(), *self._windows()]:
            raise Complaints(told)
        return self

    def _ways(self) -> list[str]:
        given = [name for name in ("any", "all", "of") if getattr(self, name) is not None]
        words = ["vote with of" if name == "of" else name for name in given]
        told = []
        if not given and self.vote is None:
            told.append("any: is missing; name the rules under any, all, or vote with of")
        if len(given) > 1:
            told.append(f"{given[-1]}: {' and '.join(words)} exclude each other; keep one")
        if self.vote is not None and self.of is None:
            told.append(f"of: is missing; vote: {self.vote} needs the rules that vote")
        if self.of is not None and self.vote is None:
            told.append("vote: is missing; say how many of the rules under of must speak")
        if self.vote is not None and self.of is not None and self.vote > len(self.of):
            told.append(f"vote: {self.vote} of {len(self.of)} rules can never speak; lower it")
        return told

    def _windows(self) -> list[str]:
        return [
            f"{name}.{place}.days: {rule.days} days of drift never fit into a window of "
            f"{rule.window_days}; raise window_days"
            for name in ("any", "all", "of")
            for place, rule in enumerate(getattr(self, name) or ())
            if rule.rule == "drift" and rule.days > rule.window_days
        ]

    @property
    def policy(self) -> Policy:
        """The rules, and how many of them must speak."""
        rules = self.any or self.all or self.of
        assert rules is not None, "one of them was asked for"
        needed = 1 if self.any else self.vote or len(rules)
        return Policy(rules, needed, self.cool_down_days)
