"""Whether the challenger goes live: the rule of the promotion gate."""

from dataclasses import dataclass
from typing import Literal

from tasks.evaluation.bar import Bar
from tasks.evaluation.contest import Contest

Decision = Literal["promote", "reject", "not enough evidence"]


@dataclass(frozen=True)
class Verdict:
    """The gate's decision and the sentence that explains it to people."""

    decision: Decision
    reason: str


def challenger_wins(contest: Contest, *, min_gain: float) -> bool:
    """Whether the whole interval of the gain lies above zero and at or above `min_gain`.

    The claim to be shown is "the challenger is better by at least min_gain", so the bar is held
    against the interval's lower end and not against the gain itself: a lucky day of a model that
    gains nothing passes with the level of that end at most, whatever min_gain is. A rule
    of two point values would pass it every second day. A lower end of exactly 0 does not win, so
    two equal models never replace each other.
    """
    return contest.low > 0 and min(contest.low, contest.gain) >= min_gain


def decide(contest: Contest, bar: Bar) -> Verdict:
    """Judge `contest`: promote, reject, or not enough evidence to say.

    - fewer than `bar.min_impressions` judged: not enough evidence, whatever they say;
    - promote: `challenger_wins`;
    - reject: the interval's upper end is below `bar.min_gain`, or not above zero: more days would
      not help;
    - otherwise the interval holds both answers: not enough evidence. The reason then names the
      smallest gain that this noise would have let through: min_gain + (gain − low).

    Args:
        contest: its interval is the one that decides.
        bar: what has to be shown.
    """
    if contest.impressions < bar.min_impressions:
        return Verdict(
            "not enough evidence",
            f"{contest.impressions:,} judged impressions are fewer than the "
            f"min_impressions of {bar.min_impressions:,}",
        )
    against = " against relevance" if contest.debiased else ""
    figures = f"gain {_gain(contest.gain)}{against} ({_interval(contest)})"
    if challenger_wins(contest, min_gain=bar.min_gain):
        passed = f"clears min_gain {bar.min_gain:g}" if bar.min_gain > 0 else "is above zero"
        return Verdict("promote", f"{figures} {passed}")
    if contest.high <= 0:
        return Verdict("reject", f"{figures} is no gain over the champion")
    if contest.high < bar.min_gain:
        return Verdict("reject", f"{figures} stays below min_gain {bar.min_gain:g}")
    smallest = bar.min_gain + contest.gain - contest.low
    missed = f"min_gain {bar.min_gain:g}" if bar.min_gain > 0 else "zero"
    return Verdict(
        "not enough evidence",
        f"{figures} does not clear {missed}: {contest.impressions:,} impressions of "
        f"{contest.users:,} users could only have shown a gain of {_gain(smallest)} or more",
    )


def _gain(value: float) -> str:
    return f"{round(value, 4) or 0.0:+.4f}"


def _interval(contest: Contest) -> str:
    after = f" after {contest.looks} days" if contest.looks > 1 else ""
    ends = f"{_gain(contest.low)} to {_gain(contest.high)}"
    return f"{100 * contest.confidence:.3g} % interval {ends}{after}"
