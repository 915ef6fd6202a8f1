"""What a challenger must not break while it gains: rules of non-inferiority, each with its verdict.

Shapes: S impressions of the evidence, U users, D days.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.evaluation.fairness import fairness
from tasks.evaluation.gate import Verdict
from tasks.evaluation.impressions import Impressions, members_of, read
from tasks.evaluation.limits import (
    CalibrationLimits,
    ForgettingLimits,
    Guardrails,
    LatencyLimits,
    SizeLimits,
    SliceLimits,
)
from tasks.evaluation.noninferiority import bounds, ratios, widening
from tasks.evaluation.ruling import RuleVerdict, percent, rule_on, too_few
from tasks.evaluation.sequential import look_level
from tasks.evaluation.slates import Bools, Floats

MEBIBYTE = 2**20


@dataclass(frozen=True)
class ModelFacts:
    """What the two versions cost to serve."""

    champion_ms: float
    """Milliseconds to score 1,000 candidates, the best of a few tries."""
    challenger_ms: float
    """The same on the same rows and machine."""
    challenger_bytes: int
    """Of the version's files."""


def check(
    evidence: pa.Table,
    archive: pa.Table | None,
    facts: ModelFacts,
    rules: Guardrails,
    *,
    looks: int = 1,
) -> list[RuleVerdict]:
    """Hold every rule against the evidence of all days so far.

    Args:
        evidence: EVIDENCE of the contest, over all its days; each of them was a look.
        archive: EVIDENCE of the same two models on an older window; None where there is none yet.
        facts: what the versions cost.
        rules: the limits; a block that is None is not asked.
        looks: most days on which this challenger is judged. The error of `rules.confidence` is spent
            over them, so a slice that loses its margin is not passed because it was asked often.

    Returns:
        A verdict for each slice, each gap, the archive, log loss, expected clicks, latency and size.
    """
    seen = read(evidence)
    level = level_of(seen, rules.confidence, looks)
    found: list[RuleVerdict] = []
    if rules.slices:
        found += _slices(evidence, seen, rules.slices, level)
    if rules.fairness:
        found += fairness(evidence, seen, rules.fairness, level)
    if rules.forgetting:
        found.append(_forgetting(archive, rules.forgetting, 1 - rules.confidence))
    if rules.calibration:
        found += _calibration(evidence, seen, rules.calibration, level)
    if rules.latency:
        found.append(_latency(facts, rules.latency))
    if rules.size:
        found.append(_size(facts, rules.size))
    return found


def combine(primary: Verdict, rules: list[RuleVerdict]) -> Verdict:
    """The gate's verdict once the guardrails have spoken, in one sentence that names the rule.

    A breach rejects whatever the gain is: more days cannot mend it. A rule that is not shown to hold
    keeps a winner waiting. A verdict that is none without the rules stays as it is.
    """
    if primary.decision == "reject":
        return primary
    deciding = [each for each in rules if each.decides]
    if breaches := [each for each in deciding if each.decision == "breach"]:
        return Verdict("reject", _but(primary, breaches))
    waiting = [each for each in deciding if each.decision != "pass"]
    if primary.decision == "promote" and waiting:
        return Verdict("not enough evidence", _but(primary, waiting))
    return primary


def level_of(seen: Impressions, confidence: float, looks: int) -> float:
    """The one-sided level of the newest look, so that all of them spend 1 − confidence."""
    reached = np.cumsum(seen.by_day)
    information = reached[seen.by_day > 0].astype(np.float64)
    if not len(information):
        return 1 - confidence
    return look_level(information, 1 - confidence, max(looks, len(information)))


def _but(primary: Verdict, rules: list[RuleVerdict]) -> str:
    others = len(rules) - 1
    more = f" (and {others} more guardrail{'s' if others > 1 else ''})" if others else ""
    return f"{primary.reason}, but the guardrail {rules[0].sentence}{more}"


def _slices(
    evidence: pa.Table, seen: Impressions, limits: SliceLimits, level: float
) -> Iterator[RuleVerdict]:
    total = max(int(seen.judged.sum()), 1)
    for name, member in members_of(evidence).items():
        verdict = _gain(f"slice {name}", seen, member, limits.margin, limits.min_impressions, level)
        share = verdict.impressions / total
        small = f"{100 * share:.1f} % of the impressions"
        yield verdict if share >= limits.min_share else verdict.shown_only(small)


def _gain(
    rule: str, seen: Impressions, member: Bools, margin: float, least: int, level: float
) -> RuleVerdict:
    """Whether the challenger's gain on some impressions is above −margin."""
    chosen = member & seen.judged
    slates = seen.by_user(chosen.astype(np.float64))
    present = slates > 0
    impressions, users = int(chosen.sum()), int(present.sum())
    if impressions < least or users < 2:
        return too_few(rule, impressions, users, least)
    gain = seen.by_user(np.where(chosen, seen.gain, 0.0))
    mean = ratios(gain[present, None], slates[present, None])
    found = bounds(mean, level, seen.candidates.shared(chosen, float(mean.value[0])))
    return rule_on(
        rule, "gain", found, -margin, more_is_better=True, impressions=impressions, users=users
    )


def _forgetting(archive: pa.Table | None, limits: ForgettingLimits, level: float) -> RuleVerdict:
    """The window is fixed, so it is one look however often it is asked."""
    if archive is None or not archive.num_rows:
        return RuleVerdict(
            "forgetting",
            "not enough evidence",
            f"there are no impressions of {limits.days_ago} days ago or earlier",
            decides=False,
        )
    seen = read(archive)
    everything = np.ones(archive.num_rows, np.bool_)
    return _gain("forgetting", seen, everything, limits.margin, limits.min_impressions, level)


def _calibration(
    evidence: pa.Table, seen: Impressions, limits: CalibrationLimits, level: float
) -> list[RuleVerdict]:
    clicks = evidence["clicks"].to_numpy().astype(np.float64)
    if seen.num_users < 2 or not clicks.any():
        impressions = evidence.num_rows
        return [
            too_few(rule, impressions, seen.num_users, 2)
            for rule in ("calibration of log loss", "calibration of expected clicks")
        ]
    return [
        _log_loss(evidence, seen, limits, level),
        _expected(evidence, seen, clicks, limits, level),
    ]


def _log_loss(
    evidence: pa.Table, seen: Impressions, limits: CalibrationLimits, level: float
) -> RuleVerdict:
    """Σ challenger's log loss / Σ champion's − 1, over all candidates."""
    candidates = evidence["candidates"].to_numpy()
    old, new = (
        seen.by_user(evidence[f"{name}_loss"].to_numpy() * candidates)
        for name in ("champion", "challenger")
    )
    return rule_on(
        "calibration of log loss",
        "log loss against the champion's",
        bounds(ratios((new - old)[:, None], old[:, None]), level),
        limits.loss_margin,
        more_is_better=False,
        impressions=evidence.num_rows,
        users=seen.num_users,
        words=percent,
    )


def _expected(
    evidence: pa.Table, seen: Impressions, clicks: Floats, limits: CalibrationLimits, level: float
) -> RuleVerdict:
    """|expected/observed − 1| of the challenger less the champion's."""
    below = seen.by_user(clicks)[:, None]
    old, new = (
        # less the observed, so that a perfect ratio is 0 and its distance the larger of ±
        ratios(seen.by_user(evidence[f"{name}_expected"].to_numpy() - clicks)[:, None], below)
        for name in ("champion", "challenger")
    )
    either_way = np.array([[1.0], [-1.0]])
    return rule_on(
        "calibration of expected clicks",
        f"expected over observed clicks {1 + new.value[0]:.3f}, champion {1 + old.value[0]:.3f}: "
        "farther from 1 by",
        widening(old, new, either_way, level),
        limits.expected_margin,
        more_is_better=False,
        impressions=evidence.num_rows,
        users=seen.num_users,
    )


def _latency(facts: ModelFacts, limits: LatencyLimits) -> RuleVerdict:
    times = facts.challenger_ms / facts.champion_ms
    told = (
        f"{facts.challenger_ms:.1f} ms for 1,000 candidates is {times:.2f} times the champion's "
        f"{facts.champion_ms:.1f}"
    )
    return _measured("latency", times, limits.times, told, f"{limits.times:g} times")


def _size(facts: ModelFacts, limits: SizeLimits) -> RuleVerdict:
    mebibytes = facts.challenger_bytes / MEBIBYTE
    limit = f"{limits.mebibytes:g} MiB"
    return _measured("size", mebibytes, limits.mebibytes, f"{mebibytes:.1f} MiB", limit)


def _measured(rule: str, value: float, limit: float, told: str, bar: str) -> RuleVerdict:
    """The verdict on a figure that is known, not estimated: it keeps the limit or it does not."""
    kept = value <= limit
    reason = f"{told}, {'within' if kept else 'above'} the limit of {bar}"
    return RuleVerdict(rule, "pass" if kept else "breach", reason, value=value, limit=limit)
