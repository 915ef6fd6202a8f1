"""Stage: is a fine-tuning run worth it today?"""

from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

from tasks.config import zone
from tasks.memory import remembered
from tasks.models import live_champion, name_of
from tasks.records import closed_records, newest_closed
from tasks.references import ChampionRecord, DriftFound, Published, RuleOpinion, Trigger
from tasks.stage import logger, stage
from tasks.trigger import decide
from tasks.trigger.opinions import ChampionFacts, DriftDay, Facts, Flag, Opinion
from tasks.trigger.performance import DayScore
from tasks.trigger.rules import Amount, Drift, Performance, Probe
from tasks.workspace import Workspace


@stage
def decide_retrain(
    workspace: Workspace, published: Published, champion: ChampionRecord, drift: DriftFound
) -> Trigger:
    """Combine the configured rules; the reasons are in words either way."""
    decided = remembered(
        workspace,
        published,
        "triggered",
        Trigger,
        lambda: _decide(workspace, published, champion, drift),
        reason=lambda found: "; ".join(found.reasons),
    )
    verb = "retrain" if decided.retrain else "no retrain"
    logger.info("%s  trigger    %s: %s", published.day, verb, "; ".join(decided.reasons))
    for asked in (opinion for opinion in decided.opinions if opinion.seconds):
        logger.info(
            "%s  trigger    asking %s took %.1f s", published.day, asked.rule, asked.seconds
        )
    return decided


def _decide(
    workspace: Workspace, published: Published, champion: ChampionRecord, drift: DriftFound
) -> Trigger:
    if (obstacle := _obstacle(workspace, champion)) is not None:
        return Trigger(retrain=False, reasons=[obstacle])
    live = live_champion(workspace)
    if champion.version is None and live is not None:
        words = f"{name_of(live.version)} has learned from this very day: it is trained and judged again"
        return Trigger(retrain=True, reasons=[words])

    def probe(rule: Probe) -> Opinion:
        from tasks.probe import run_probe

        assert champion.version is not None, "without a champion no rule is asked"
        return run_probe(workspace, published, champion.version, rule)

    facts = Facts(
        day=published.day,
        champion=_champion(workspace, published, champion),
        drift=[_drift_day(published.day, drift.report), *_earlier_drift(workspace, published.day)],
        record=[_today(published, champion), *_earlier_scores(workspace, published.day)],
        trained=_last_training(workspace, published.day),
    )
    decided = decide.decide_retrain(workspace.config.retrain.policy, facts, probe)
    opinions = [RuleOpinion(**asdict(opinion)) for opinion in decided.opinions]
    return Trigger(retrain=decided.retrain, reasons=decided.reasons, opinions=opinions)


def _obstacle(workspace: Workspace, champion: ChampionRecord) -> str | None:
    """Why no rule is even asked: a challenger of this day could not be trained or judged."""
    if champion.overtaken_by:
        return f"{champion.overtaken_by} has learned from later days: this one is only published"
    if champion.zero_shot_metrics is None:
        return "no impression of the day has both a click and a skip: it can teach no ranking"
    bar, impressions = workspace.config.promote, champion.zero_shot_metrics["impressions"]
    judges = round(impressions * (bar.holdout_share + bar.shadow_days))
    if judges < bar.min_impressions:
        shadow = f" and {bar.shadow_days} such days in shadow" if bar.shadow_days else ""
        return (
            f"of {impressions:,} impressions the holdout{shadow} are {judges:,}, fewer than the "
            f"promote.min_impressions of {bar.min_impressions:,}: no challenger could be judged"
        )
    return None


def _champion(
    workspace: Workspace, published: Published, champion: ChampionRecord
) -> ChampionFacts | None:
    if champion.version is None:
        return None
    through = workspace.registry.version(champion.version).trained_through
    assert through is not None, "incumbent_before returns only versions that say so"
    learned = through.astimezone(zone(workspace.config)).date()
    since = 0
    if any(isinstance(rule, Amount) for rule in workspace.config.retrain.policy.rules):
        span = (learned, published.day)
        since = workspace.lake.count_after(
            "interactions", "event_time", through, days=span, version=published.interactions
        )
    return ChampionFacts(champion.champion, learned, since)


def _earlier(workspace: Workspace, day: date, kind: type[Drift] | type[Performance]) -> list[date]:
    """The days before `day` that the rules of a kind look at."""
    windows = [r.window_days for r in workspace.config.retrain.policy.rules if isinstance(r, kind)]
    return [day - timedelta(days=n + 1) for n in range(max(windows, default=0))]


def _earlier_drift(workspace: Workspace, day: date) -> list[DriftDay]:
    """What drift found on the complete days before `day`."""
    closed, found = newest_closed(workspace), []
    for earlier in _earlier(workspace, day, Drift):
        run = closed[earlier].key.rpartition("/")[0] if earlier in closed else ""
        profiled = workspace.journal.find(f"{run}/profiled")
        if profiled is not None:
            found.append(_drift_day(earlier, profiled.evidence["report"]))
    return found


def _drift_day(day: date, report: dict[str, Any] | None) -> DriftDay:
    columns = report["columns"] if report else []
    flags = [Flag(each["column"], each["words"]) for each in columns if each["drifted"]]
    return DriftDay(day, tuple(flags), len({each["column"] for each in columns}))


def _earlier_scores(workspace: Workspace, day: date) -> list[DayScore]:
    """The prequential record of the complete days before `day`."""
    return [
        DayScore(
            date.fromisoformat(record["day"]),
            record["champion_auc"],
            record["zero_shot_auc"],
            record.get("champion_error"),
        )
        for record in closed_records(workspace, _earlier(workspace, day, Performance))
    ]


def _today(published: Published, champion: ChampionRecord) -> DayScore:
    assert champion.champion_metrics and champion.zero_shot_metrics
    return DayScore(
        published.day,
        champion.champion_metrics["impression_auc"],
        champion.zero_shot_metrics["impression_auc"],
        champion.champion_error,
    )


def _last_training(workspace: Workspace, day: date) -> date | None:
    """The last day before `day` on which a challenger was trained."""
    trained = [entry.day for entry in workspace.journal.entries(event="trained")]
    return max((each for each in trained if each and each < day), default=None)
