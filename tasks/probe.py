"""The probe: would a training help? Few shots, the head alone, judged before the gate's holdout.

The holdout is not read: a probe that had seen it would let through the challengers that are lucky there.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.config import zone
from tasks.context import day_rows, published_context
from tasks.models import day_start, load
from tasks.references import Published
from tasks.stage import Clock
from tasks.trigger.opinions import Opinion
from tasks.trigger.rules import Probe, name_of
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.context import Context
    from tasks.recommender.hybrid import HybridRanker
    from tasks.recommender.protocol import Ranker
    from tasks.recommender.recipe import Recipe

JUDGES_SHARE = 0.5
"""Of the day's impressions before the gate's holdout, the newest ones: they judge, the others teach."""

FEWEST_JUDGES = 50
"""Impressions below which the error of their AUC is about 0.05: no training gains that much."""


@dataclass(frozen=True)
class ProbeRows:
    """What a probe learns from, and what judges it: later, and before the gate's holdout."""

    shots: pa.Table
    judges: pa.Table


def run_probe(workspace: Workspace, published: Published, version: str, rule: Probe) -> Opinion:
    """Whether few shots of what champion `version` has not seen make it rank the newest rows better.

    The champion's head is carried on by `rule.shots` impressions, the network stays as it is. The answer
    is yes where the lower bound of the gain in impression AUC is above zero.
    """
    clock = Clock()
    spoke, words = _probe(workspace, published, version, rule)
    return Opinion(name_of(rule), spoke, words, clock.seconds)


def _probe(
    workspace: Workspace, published: Published, version: str, rule: Probe
) -> tuple[bool, str]:
    from tasks.recommender.finetune import finetune
    from tasks.recommender.shots import count_impressions

    rows = probe_rows(workspace, published, version, rule.shots)
    num = count_impressions(rows.judges)
    if num < FEWEST_JUDGES:
        few = f"{num:,} impressions are too few to judge it, {FEWEST_JUDGES} needed"
        return False, f"no probe: {few}"
    seen = pa.concat_tables([rows.shots, rows.judges])
    days = _days(workspace, published, version)
    context = published_context(workspace, seen, published, days=days)
    champion = load(workspace, version)
    start = _start(workspace, champion)
    none = rows.judges.slice(0, 0)  # so that the shots judge by themselves how far the head moves
    tuned = finetune(start, rows.shots, none, context, _recipe(workspace)).ranker
    said = f"a probe of {count_impressions(rows.shots):,} shots"
    if tuned is start:
        return False, f"{said} teaches the head nothing"
    seed = workspace.config.finetune.seed
    spoke, words = _compare(champion, tuned, rows.judges, context, rule.confidence, seed)
    return spoke, f"{said} {words}"


def _compare(
    champion: "Ranker",
    tuned: "Ranker",
    judges: pa.Table,
    context: "Context",
    confidence: float,
    seed: int,
) -> tuple[bool, str]:
    """Whether `tuned` is surely better, and the figures in words."""
    from tasks.errors import EvaluationError
    from tasks.evaluation.contest import hold_contest
    from tasks.recommender.score import score

    scores = (score(ranker, judges, context) for ranker in (champion, tuned))
    facts = (judges[name] for name in ("label", "impression_id", "user_id"))
    try:
        # The interval is two-sided.
        contest = hold_contest(*scores, *facts, confidence=2 * confidence - 1, seed=seed)
    except EvaluationError as error:
        return False, f"cannot be judged: {error}"
    words = f"gains {contest.gain:+.4f} (at least {contest.low:+.4f})"
    words += f" on {contest.impressions:,} impressions"
    return contest.low > 0, words if contest.low > 0 else f"{words}: no sure gain"


def probe_rows(workspace: Workspace, published: Published, version: str, shots: int) -> ProbeRows:
    """The newest rows before the gate's holdout judge; shots are drawn from those before, as in training.

    Nothing that the champion has seen is a shot: it knows that already.
    """
    from tasks.recommender.shots import select_shots, split_by_time

    settings, holdout = workspace.config.finetune, workspace.config.promote.holdout_share
    rows = day_rows(workspace, published, days=_days(workspace, published, version))
    rows = _later_than(rows, _trained_through(workspace, version))
    start = pa.scalar(day_start(workspace, published.day), rows["event_time"].type)
    today = pc.greater_equal(rows["event_time"], start)
    recent = split_by_time(
        rows.filter(today),
        validation_share=JUDGES_SHARE * (1 - holdout),
        holdout_share=holdout,
    )
    drawn = select_shots(
        recent.shots,
        rows.filter(pc.invert(today)),
        shots=shots,
        replay_share=settings.replay_share,
        seed=settings.seed,
    )
    return ProbeRows(drawn, recent.validation)


def _trained_through(workspace: Workspace, version: str) -> datetime:
    through = workspace.registry.version(version).trained_through
    assert through is not None, "incumbent_before returns only versions that say so"
    return through


def _days(workspace: Workspace, published: Published, version: str) -> int:
    """How many days there are since the champion's training, of the window."""
    through = _trained_through(workspace, version).astimezone(zone(workspace.config)).date()
    return min((published.day - through).days + 1, workspace.config.finetune.window_days)


def _later_than(rows: pa.Table, moment: datetime) -> pa.Table:
    """The whole impressions that began after `moment`."""
    from tasks.recommender.shots import impression_times

    slate, began = impression_times(rows)
    microseconds = pa.scalar(moment, rows["event_time"].type).cast(pa.int64()).as_py()
    return rows.filter(pa.array(began[slate] > microseconds))


def _start(workspace: Workspace, champion: "Ranker") -> "HybridRanker":
    """The champion; the zero-shot model where the champion is another ranker than is trained now."""
    from tasks.recommender.hybrid import HybridRanker

    if isinstance(champion, HybridRanker) and champion.base.name == workspace.config.finetune.base:
        return champion
    zero_shot = load(workspace, None)
    assert isinstance(zero_shot, HybridRanker), "pipelines.yaml allows a probe of no other ranker"
    return zero_shot


def _recipe(workspace: Workspace) -> "Recipe":
    """The pipeline's recipe as far as it concerns the head, which is fitted at once."""
    from tasks.recommender.recipe import HeadOnly, Recipe

    settings = workspace.config.finetune
    return Recipe(
        ranker=settings.ranker,
        tuning=HeadOnly(),
        wave_precisions=settings.wave_precisions,
        memory=settings.memory,
        adapter_epochs=0,
        objective=settings.objective,
        seed=settings.seed,
    )
