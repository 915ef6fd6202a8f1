"""A guardrail's verdict: whether a figure keeps its limit, in words with figures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tasks.evaluation.noninferiority import Bounds

Ruling = Literal["pass", "breach", "not enough evidence"]


@dataclass(frozen=True)
class RuleVerdict:
    """One rule's verdict and the words that explain it to people."""

    rule: str
    """Which, such as "slice cold items" or "latency"."""
    decision: Ruling
    reason: str
    """Begins with what was measured; `sentence` puts the rule's name before it."""
    decides: bool = True
    """Whether the verdict counts; one that does not is shown."""
    value: float | None = None
    """What was measured: a gain, a widening, a ratio; None where there was too little to measure."""
    low: float | None = None
    """One-sided lower end of it; None where nothing is estimated."""
    high: float | None = None
    """One-sided upper end."""
    limit: float | None = None
    """Where the rule draws the line, on the scale of `value`."""
    impressions: int = 0
    """That the figure rests on."""
    users: int = 0

    @property
    def sentence(self) -> str:
        """The rule and its reason."""
        return f"{self.rule}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as the day's record keeps them."""
        return asdict(self)

    def shown_only(self, because: str) -> "RuleVerdict":
        """The same verdict, which does not decide."""
        return replace(
            self, decides=False, reason=f"{self.reason} ({because}: shown, not decided by)"
        )


def gauge(value: float) -> str:
    """A difference of AUC or the like, with its sign."""
    return f"{round(value, 4) or 0.0:+.4f}"


def percent(value: float) -> str:
    """A relative change, with its sign."""
    return f"{100 * round(value, 4) or 0.0:+.2f} %"


def rule_on(
    rule: str,
    figure: str,
    found: Bounds,
    limit: float,
    *,
    more_is_better: bool,
    impressions: int,
    users: int,
    words: Callable[[float], str] = gauge,
) -> RuleVerdict:
    """Whether a figure keeps its limit, by non-inferiority.

    Pass: the worse end keeps it, so the opposite is ruled out. Breach: the better end breaks it too.
    Between them the evidence allows both, which is no pass: absence of evidence of harm is not
    evidence of its absence.

    Args:
        rule: its name.
        figure: what was measured, such as "gain".
        found: the figure with one-sided ends.
        limit: where the line is.
        more_is_better: whether a figure keeps the limit by being above it.
        impressions: that the figure rests on.
        users: that they belong to.
        words: how the figure is written.
    """
    worst, best = (found.low, found.high) if more_is_better else (found.high, found.low)
    side = 1 if more_is_better else -1
    bar = f"the limit of {words(limit)}"
    decision: Ruling
    if side * (worst - limit) > 0:
        decision, told = "pass", f"(at worst {words(worst)}) keeps {bar}"
    elif side * (best - limit) < 0:
        decision, told = "breach", f"(at best {words(best)}) breaks {bar}"
    else:
        decision = "not enough evidence"
        told = (
            f"(at worst {words(worst)}) is not shown to keep {bar} by {impressions:,} impressions "
            f"of {users:,} users"
        )
    return RuleVerdict(
        rule,
        decision,
        f"{figure} {words(found.value)} {told}",
        value=found.value,
        low=found.low,
        high=found.high,
        limit=limit,
        impressions=impressions,
        users=users,
    )


def too_few(rule: str, impressions: int, users: int, least: int) -> RuleVerdict:
    """The verdict on what is too small to be judged at all."""
    why = (
        f"{impressions:,} judged impressions are fewer than the min_impressions of {least:,}"
        if impressions < least
        else f"{impressions:,} judged impressions are all one user's"
    )
    return RuleVerdict(rule, "not enough evidence", why, impressions=impressions, users=users)
