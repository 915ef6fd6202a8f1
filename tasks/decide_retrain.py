"""Stage: is a fine-tuning run worth it today?"""

from datetime import date, timedelta

from tasks import config
from tasks.config import zone
from tasks.drift import trigger
from tasks.drift.compare import ColumnDrift, DriftReport
from tasks.memory import remembered
from tasks.models import live_champion, name_of
from tasks.records import closed_records
from tasks.references import ChampionRecord, DriftFound, Published, Trigger
from tasks.stage import logger, stage
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
    decided = trigger.decide_retrain(
        day=published.day,
        rules=[_rule(rule) for rule in workspace.config.retrain.any],
        champion=_facts(workspace, champion),
        drift=_report(drift),
        record=[*_scores(workspace, published), _today(published, champion)],
    )
    return Trigger(retrain=decided.retrain, reasons=decided.reasons)


def _obstacle(workspace: Workspace, champion: ChampionRecord) -> str | None:
    """Why no rule is even asked: a challenger of this day could not be trained or judged."""
    if champion.overtaken_by:
        return f"{champion.overtaken_by} has learned from later days: this one is only published"
    if champion.zero_shot_metrics is None:
        return "no impression of the day has both a click and a skip: it can teach no ranking"
    bar, impressions = workspace.config.promote, champion.zero_shot_metrics["impressions"]
    judges = round(impressions * bar.holdout_share)
    if judges < bar.min_impressions:
        return (
            f"of {impressions:,} impressions a holdout of {judges:,} is fewer than the "
            f"promote.min_impressions of {bar.min_impressions:,}: no challenger could be judged"
        )
    return None


def _rule(rule: config.Rule) -> trigger.Rule:
    match rule:
        case config.Always():
            return trigger.Always()
        case config.Cadence():
            return trigger.Cadence(rule.every_days)
        case config.DriftRule():
            return trigger.Drift(rule.min_columns)
        case config.Performance():
            return trigger.Performance(rule.max_drop, rule.window_days)


def _facts(workspace: Workspace, champion: ChampionRecord) -> trigger.ChampionFacts | None:
    if champion.version is None:
        return None
    through = workspace.registry.version(champion.version).trained_through
    assert through is not None, "incumbent_before returns only versions that say so"
    return trigger.ChampionFacts(
        champion.champion, through.astimezone(zone(workspace.config)).date()
    )


def _report(drift: DriftFound) -> DriftReport | None:
    if drift.report is None:
        return None
    columns = [ColumnDrift(**column) for column in drift.report["columns"]]
    return DriftReport(drift.report["reference"], columns)


def _scores(workspace: Workspace, published: Published) -> list[trigger.DayScore]:
    """The prequential record of the complete days before this one that a rule looks at."""
    windows = [r.window_days for r in workspace.config.retrain.any if r.rule == "performance"]
    days = [published.day - timedelta(days=n + 1) for n in range(max(windows, default=0))]
    return [
        trigger.DayScore(
            date.fromisoformat(record["day"]), record["champion_auc"], record["zero_shot_auc"]
        )
        for record in closed_records(workspace, days)
    ]


def _today(published: Published, champion: ChampionRecord) -> trigger.DayScore:
    assert champion.champion_metrics and champion.zero_shot_metrics
    return trigger.DayScore(
        published.day,
        champion.champion_metrics["impression_auc"],
        champion.zero_shot_metrics["impression_auc"],
    )
