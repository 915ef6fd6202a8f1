"""Two histories of one pipeline over the same days: which one ranked better, and how surely."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

from tasks.errors import EvaluationError

FEWEST_DAYS = 3
"""Two days give an interval of one degree of freedom, which says nothing."""


@dataclass(frozen=True)
class Difference:
    """Mean AUC of the second history less the first's, over the days that both have scored."""

    days: int
    mean: float | None
    """None where no day is scored in both."""
    low: float | None
    """None below FEWEST_DAYS days."""
    high: float | None
    confidence: float

    def to_json(self) -> dict[str, float | int | None]:
        """The difference in JSON types."""
        return asdict(self)


def paired_difference(
    first: Sequence[float | None], second: Sequence[float | None], *, confidence: float
) -> Difference:
    """The mean of the days' differences, with Student's t interval over the days.

    Paired, because days differ far more than policies do, and a day's difficulty cancels out in its
    difference. Student's t, because a comparison has few days: a bootstrap of five or ten values
    draws intervals that are too short, and a normal one does too. Consecutive days share champions,
    so the interval is still somewhat short: it is a guide, and no gate rests on it.

    Args:
        first: AUC by day; None where the day ranks nothing.
        second: of the same days.
        confidence: of the two-sided interval, such as 0.9.

    Raises:
        EvaluationError: the histories are not of the same days.

    Source: Student, "The probable error of a mean" (Biometrika 1908).
    """
    if len(first) != len(second):
        raise EvaluationError(
            f"Histories of {len(first)} and {len(second)} days cannot be paired: "
            "compare them over the same days."
        )
    gains = [b - a for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not gains:
        return Difference(0, None, None, None, confidence)
    mean = fmean(gains)
    if len(gains) < FEWEST_DAYS:
        return Difference(len(gains), mean, None, None, confidence)
    from scipy.stats import t

    reach = float(t.ppf((1 + confidence) / 2, len(gains) - 1)) * stdev(gains) / len(gains) ** 0.5
    return Difference(len(gains), mean, mean - reach, mean + reach, confidence)


def verdict_of(difference: Difference) -> str:
    """Which history ranked better, in words."""
    days = f"{difference.days} day{'s'[: difference.days != 1]}"
    if difference.mean is None:
        return "no day is scored in both histories: nothing can be said"
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.4f} AUC over {days}: too few days to say more"
    interval = (
        f"{difference.mean:+.4f} AUC a day, {100 * difference.confidence:g} % interval "
        f"{difference.low:+.4f} to {difference.high:+.4f} over {days}"
    )
    if difference.low == difference.high == 0:
        return f"the two histories rank alike: not one of {days} differs"
    if difference.low > 0:
        return f"the replay ranked better: {interval}"
    if difference.high < 0:
        return f"the replay ranked worse: {interval}"
    return f"no difference can be told: {interval}"
