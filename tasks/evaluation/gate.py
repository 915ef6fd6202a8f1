"""Whether the challenger goes live: the rule of the promotion gate."""

from dataclasses import dataclass
from typing import Literal

from tasks.evaluation.contest import Contest

Decision = Literal["promote", "keep", "not enough evidence"]


@dataclass(frozen=True)
class Verdict:
    """The gate's decision and the sentence that explains it to people."""

    decision: Decision
    reason: str


def challenger_wins(contest: Contest, *, min_gain: float) -> bool:
    """Whether the whole interval of the gain lies above zero and at or above `min_gain`.

    The claim to be shown is "the challenger is better by at least min_gain", so the bar is held
    against the interval's lower end and not against the gain itself: a lucky day of a model that
    gains nothing passes with probability (1 − confidence)/2 at most, whatever min_gain is. A rule
    of two point values would pass it every second day. A lower end of exactly 0 does not win, so
    two equal models never replace each other.
    """
    return contest.low > 0 and min(contest.low, contest.gain) >= min_gain


def decide(contest: Contest, *, min_gain: float, min_impressions: int = 2) -> Verdict:
    """Judge `contest`: promote, keep, or not enough evidence to say.

    - fewer than `min_impressions` judged: not enough evidence, whatever they say;
    - promote: `challenger_wins`;
    - keep: the gain is not positive, or the interval's upper end is below `min_gain`;
    - otherwise the interval holds both answers: not enough evidence. The reason then names the
      smallest gain that this day's noise would have let through: min_gain + (gain − low).

    Args:
        contest: its interval carries the confidence of the decision.
        min_gain: impression AUC that the challenger must gain, 0 or more.
        min_impressions: fewest judged impressions for any verdict.
    """
    if contest.impressions < min_impressions:
        return Verdict(
            "not enough evidence",
            f"{contest.impressions:,} judged impressions are fewer than the "
            f"min_impressions of {min_impressions:,}",
        )
    against = " against relevance" if contest.debiased else ""
    figures = f"gain {_gain(contest.gain)}{against} ({_interval(contest)})"
    if challenger_wins(contest, min_gain=min_gain):
        bar = f"clears min_gain {min_gain:g}" if min_gain > 0 else "is above zero"
        return Verdict("promote", f"{figures} {bar}")
    if contest.gain <= 0:
        return Verdict("keep", f"{figures} is no gain over the champion")
    if contest.high < min_gain:
        return Verdict("keep", f"{figures} stays below min_gain {min_gain:g}")
    smallest = min_gain + contest.gain - contest.low
    bar = f"min_gain {min_gain:g}" if min_gain > 0 else "zero"
    return Verdict(
        "not enough evidence",
        f"{figures} does not clear {bar}: {contest.impressions:,} impressions of "
        f"{contest.users:,} users could only have shown a gain of {_gain(smallest)} or more",
    )


def _gain(value: float) -> str:
    return f"{round(value, 4) or 0.0:+.4f}"


def _interval(contest: Contest) -> str:
    return f"{100 * contest.confidence:g} % interval {_gain(contest.low)} to {_gain(contest.high)}"
