"""Champion against challenger on rows that neither has learned from: evidence, contest, verdict.

The same on a challenger's own day, where the rows are its holdout, and on the days in shadow, where
they are the whole day.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.archive import archive_evidence
from tasks.errors import EvaluationError
from tasks.evidence import evidence_of, keep_evidence
from tasks.models import load
from tasks.references import Published, Shadow
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.evaluation.bar import Bar
    from tasks.evaluation.contest import Contest
    from tasks.evaluation.guardrails import ModelFacts
    from tasks.evaluation.slates import Floats
    from tasks.recommender.context import Context
    from tasks.recommender.protocol import Ranker

TIMED_ROWS = 1000
"""Candidates that both models are timed on."""

TIMED_SECONDS = 2.0
"""After so long no further try is made: what is this slow is timed well enough."""

PATIENCE_SECONDS = 20.0
"""How long a challenger that seems too slow is tried on: a busy machine slows whom it happens to hit."""

TRIES = 5
"""Of both in turn; the best of each counts."""


@dataclass(frozen=True)
class Rows:
    """What both models are judged on, and the champion's answers, which every challenger shares."""

    published: Published
    table: pa.Table
    context: "Context"
    champion: "Ranker"
    champion_scores: "Floats"
    examined: "Floats | None"
    """(N,) how much each row's position is looked at, where training weighs clicks by that."""


@dataclass(frozen=True)
class Weighed:
    """What was found, for the journal."""

    decision: str
    reason: str
    contest: dict[str, Any] | None
    """None where it is undefined: the reason says why."""
    scores: "Floats"
    """(N,) the challenger's."""


def columns_of_groups(workspace: Workspace) -> tuple[str, ...]:
    """The columns of the log that fairness tells groups apart by, beside those that every ranker reads."""
    fairness = workspace.config.promote.guardrails.fairness
    named = {group.partition(".")[0] for group in fairness.groups} if fairness else set()
    return tuple(sorted(named & {"surface", "context"}))


def weigh(workspace: Workspace, rows: Rows, shadow: Shadow) -> Weighed:
    """Score the challenger on the rows, keep the evidence, and judge by all evidence so far."""
    from tasks.recommender.score import score

    challenger = load(workspace, shadow.version)
    scores = score(challenger, rows.table, rows.context)
    _keep(workspace, rows, shadow, challenger, scores)
    days = (shadow.begun, rows.published.day)
    kept = evidence_of(workspace, shadow.version, shadow.compared_with, days=days)
    facts = _facts(workspace, rows, shadow.version, challenger)
    try:
        return _judged(workspace, rows, shadow, scores, kept, facts)
    except EvaluationError as error:
        reason = f"the contest is undefined: {error}"
        return Weighed("not enough evidence", reason, None, scores)


def _keep(
    workspace: Workspace, rows: Rows, shadow: Shadow, challenger: "Ranker", scores: "Floats"
) -> None:
    """Store the day's evidence; beside a challenger's first, that of the archive, which never changes."""
    from tasks.evaluation.evidence import collect
    from tasks.recommender.slices import groups_of, slices_of

    guardrails, day = workspace.config.promote.guardrails, rows.published.day
    forgetting, fairness = guardrails.forgetting, guardrails.fairness
    evidence = collect(
        rows.champion_scores,
        scores,
        rows.table,
        slices_of(rows.table, rows.context),
        groups_of(rows.table, rows.context, fairness.groups) if fairness else {},
        day,
        examined=rows.examined,
    )
    if forgetting and day == shadow.begun:
        archive = archive_evidence(workspace, rows.published, rows.champion, challenger, forgetting)
        evidence = pa.concat_tables([archive, evidence])
    keep_evidence(workspace, day, shadow.version, shadow.compared_with, evidence)


def _judged(
    workspace: Workspace,
    rows: Rows,
    shadow: Shadow,
    scores: "Floats",
    kept: pa.Table,
    facts: "ModelFacts",
) -> Weighed:
    from tasks.evaluation.bar import Bar
    from tasks.evaluation.gate import decide
    from tasks.evaluation.guardrails import check, combine

    promote = workspace.config.promote
    bar = Bar(promote.min_gain, shadow.level, promote.min_impressions, shadow.looks)
    is_archive = pc.less(kept["day"], pa.scalar(shadow.begun))
    evidence, archive = kept.filter(pc.invert(is_archive)), kept.filter(is_archive)
    contest = _contest(rows, scores, evidence, bar)
    rules = check(evidence, archive, facts, promote.guardrails, looks=shadow.looks)
    verdict = combine(decide(contest, bar), rules)
    document = {
        **contest.to_json(),
        "min_gain": bar.min_gain,
        "rules": [rule.to_json() for rule in rules],
    }
    return Weighed(verdict.decision, verdict.reason, document, scores)


def _contest(rows: Rows, scores: "Floats", evidence: pa.Table, bar: "Bar") -> "Contest":
    """Over all days; beside it both models' metrics on this day's rows, if these rank anything."""
    from tasks.evaluation.contest import contest_of
    from tasks.evaluation.delong import pooled_gain
    from tasks.evaluation.metrics import measure_slates
    from tasks.evaluation.slates import group_slates

    table, old = rows.table, rows.champion_scores
    slates = group_slates(table["label"], table["impression_id"])
    metrics = pooled = None
    if slates.ranks.any():
        metrics = measure_slates(old, slates), measure_slates(scores, slates)
        with suppress(EvaluationError):  # one user's clicks, which decide nothing here
            pooled = pooled_gain(old, scores, table["label"], table["user_id"])
    return contest_of(
        evidence, bar, metrics=metrics, pooled=pooled, debiased=rows.examined is not None
    )


def _facts(workspace: Workspace, rows: Rows, version: str, challenger: "Ranker") -> "ModelFacts":
    """What both cost to serve; untimed where no rule asks."""
    from tasks.evaluation.guardrails import ModelFacts

    latency = workspace.config.promote.guardrails.latency
    champion_ms = challenger_ms = float("nan")
    if latency:
        champion_ms, challenger_ms = _milliseconds(rows, challenger, latency.times)
    return ModelFacts(champion_ms, challenger_ms, _bytes(workspace.registry.download(version)))


def _milliseconds(rows: Rows, challenger: "Ranker", times: float) -> tuple[float, float]:
    """Of both for 1,000 candidates: in turn on the same ones, which both have scored before."""
    timed = _whole_slates(rows.table)
    best = [float("inf"), float("inf")]
    began = time.perf_counter()
    for tries in count(1):
        for place, ranker in enumerate((rows.champion, challenger)):
            start = time.perf_counter()
            ranker.probabilities(timed, rows.context)
            best[place] = min(best[place], time.perf_counter() - start)
        seems_slow, spent = best[1] > times * best[0], time.perf_counter() - began
        if spent > (PATIENCE_SECONDS if seems_slow else TIMED_SECONDS):
            break
        if tries >= TRIES and not seems_slow:
            break
    champion_ms, challenger_ms = (1e6 * seconds / timed.num_rows for seconds in best)
    return champion_ms, challenger_ms


def _whole_slates(table: pa.Table) -> pa.Table:
    """The first impressions, TIMED_ROWS rows at most; a slate longer than that is cut."""
    some = table.slice(0, TIMED_ROWS)
    whole = some.filter(pc.not_equal(some["impression_id"], some["impression_id"][-1]))
    return whole if whole.num_rows else some


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
