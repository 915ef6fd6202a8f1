"""Stage: the day's record, its page, and the journal entry that makes the day complete."""

from datetime import date
from typing import Any

from tasks.in_shadow import figures
from tasks.memory import remembered
from tasks.records import closed_records, month_of, newest_closed, report_path
from tasks.references import (
    Challenger,
    ChampionRecord,
    ContestHeld,
    DayClosed,
    DriftFound,
    Published,
    Reference,
    ShadowJudged,
    ShadowsJudged,
    Staged,
    Trigger,
    Validated,
    Verdict,
)
from tasks.register import data_versions
from tasks.stage import Clock, logger, stage
from tasks.superseded import superseded_models
from tasks.workspace import Workspace


@stage
def close_day(
    workspace: Workspace,
    staged: Staged,
    validated: Validated,
    published: Published,
    champion: ChampionRecord,
    shadows: ShadowsJudged,
    drift: DriftFound,
    trigger: Trigger,
    challenger: Challenger | None = None,
    held: ContestHeld | None = None,
    verdict: Verdict | None = None,
) -> dict[str, Any]:
    """Write the day's report everywhere it is read, then record the day as complete."""

    def close() -> DayClosed:
        clock = Clock()
        record = {
            **_rows_part(workspace, staged, validated, published),
            **_model_part(champion, drift, trigger),
            **_contest_part(champion, challenger, held, verdict, trigger, shadows),
            "shadows": [_shadow_part(each) for each in shadows.shadows],
            "data_versions": data_versions(published),
            "seconds": _seconds(
                {
                    "ingest": staged,
                    "validate": validated,
                    "publish": published,
                    "score_champion": champion,
                    "judge_shadows": shadows if shadows.shadows else None,
                    "detect_drift": drift,
                    "decide_retrain": trigger,
                    "register": challenger,
                    "evaluate": held,
                    "promote": verdict,
                },
                challenger,
            ),
        }
        _write_reports(workspace, record, challenger, champion)
        record["seconds"]["close_day"] = clock.seconds
        return DayClosed(record=record)

    closed = remembered(
        workspace,
        published,
        "closed",
        DayClosed,
        close,
        reason=lambda found: found.record["reason"],
        model_version=lambda found: found.record["model_version"],
    )
    seconds = sum(closed.record["seconds"].values())
    logger.info(
        "%s  closed     %.1f s; %s", published.day, seconds, report_path(workspace, published.day)
    )
    return closed.record


def _rows_part(
    workspace: Workspace, staged: Staged, validated: Validated, published: Published
) -> dict[str, Any]:
    return {
        "pipeline": workspace.name,
        "day": str(published.day),
        "revision": published.revision,
        "source_digest": staged.source_digest,
        "rows_read": published.rows_read,
        "published": published.published,
        "quarantined": published.quarantined,
        "duplicates": published.duplicates,
        "late": published.late,
        "quarantine_reasons": published.quarantine_reasons,
        "superseded": [each.to_json() for each in superseded_models(workspace, published.day)],
        "validation": {"passed": validated.passed, "results": validated.results},
    }


def _model_part(champion: ChampionRecord, drift: DriftFound, trigger: Trigger) -> dict[str, Any]:
    metrics = {"champion": champion.champion_metrics, "zero_shot": champion.zero_shot_metrics}
    return {
        "champion": champion.champion,
        "champion_auc": _auc(champion.champion_metrics),
        "zero_shot_auc": _auc(champion.zero_shot_metrics),
        "champion_error": champion.champion_error,
        "replaced": champion.replaced.model_dump() if champion.replaced else None,
        "metrics": metrics,
        "drift": drift.report,
        "trigger": trigger.model_dump(exclude={"seconds"}),
    }


def _contest_part(
    champion: ChampionRecord,
    challenger: Challenger | None,
    held: ContestHeld | None,
    verdict: Verdict | None,
    trigger: Trigger,
    shadows: ShadowsJudged,
) -> dict[str, Any]:
    live = shadows.promoted
    first = f"v{live.shadow.version}, from shadow: {live.reason}; today: " if live else ""
    if challenger is None or held is None or verdict is None:
        return {
            "finetune": None,
            "contest": None,
            "verdict": "published only" if champion.overtaken_by else "no retrain",
            "reason": first + "; ".join(trigger.reasons),
            "model_version": None,
            "in_shadow_until": None,
        }
    return {
        "finetune": challenger.summary,
        "contest": held.contest,
        "verdict": verdict.decision,
        "reason": first + verdict.reason,
        "model_version": challenger.version,
        "in_shadow_until": str(verdict.shadow.until) if verdict.shadow else None,
    }


def _shadow_part(judged: ShadowJudged) -> dict[str, Any]:
    """One challenger in shadow, as the day's page shows it."""
    shadow = judged.shadow
    return {
        "version": shadow.version,
        "begun": str(shadow.begun),
        "until": str(shadow.until),
        "stays": judged.stays,
        "live": judged.live_since is not None,
        "decision": judged.decision,
        "reason": judged.reason,
        **figures(judged.contest),
        "rules": (judged.contest or {}).get("rules"),
    }


def _auc(metrics: dict[str, Any] | None) -> float | None:
    return metrics["impression_auc"] if metrics else None


def _seconds(
    stages: dict[str, Reference | None], challenger: Challenger | None
) -> dict[str, float]:
    seconds = {name: each.seconds for name, each in stages.items() if each is not None}
    return {**seconds, "finetune": challenger.train_seconds} if challenger else seconds


def _contest_metrics(contest: dict[str, Any] | None) -> dict[str, float]:
    """What the holdout said of both models, by MLflow's metric names."""
    if contest is None:
        return {}
    sides = {
        f"holdout.{side}.{name}": value
        for side in ("champion", "challenger")
        for name, value in (contest[side] or {}).items()
    }
    gain = {f"holdout.{name}": contest[name] for name in ("gain", "low", "high")}
    return {**sides, **gain}


def _write_reports(
    workspace: Workspace,
    record: dict[str, Any],
    challenger: Challenger | None,
    champion: ChampionRecord,
) -> None:
    """The page under home, the same page on the model's run in MLflow, and Prefect's artifacts."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    from tasks.report.markdown import render_markdown, table_rows
    from tasks.report.page import render_day
    from tasks.report.plots import plot_contest

    day = date.fromisoformat(record["day"])
    records = _neighbouring_records(workspace, record)
    earlier = [r for d, r in records.items() if d < day]
    page = render_day(record, earlier)
    workspace.reports.mkdir(parents=True, exist_ok=True)
    report_path(workspace, day).write_text(page, encoding="utf-8")
    _write_lists(workspace, day, records)

    version = challenger.version if challenger else champion.version
    if version is not None:
        files = {f"reports/{record['day']}.html": page.encode()}
        if challenger:
            files |= {f"plots/{name}": png for name, png in plot_contest(record, earlier).items()}
        workspace.registry.attach(version, files=files, metrics=_contest_metrics(record["contest"]))
    key = f"{workspace.name}-{record['day']}".replace("_", "-")
    create_markdown_artifact(render_markdown(record), key=key, description="The day in words")
    create_table_artifact(table_rows(record), key=f"{key}-table", description="The day in figures")


def _neighbouring_records(
    workspace: Workspace, record: dict[str, Any]
) -> dict[date, dict[str, Any]]:
    """The day's record, and those that its page and the lists of days show; oldest first."""
    from tasks.report.page import MAX_DAYS

    day = date.fromisoformat(record["day"])
    complete = [each for each in newest_closed(workspace) if each != day]
    before = [each for each in complete if each < day][-MAX_DAYS:]
    same_month = [each for each in complete if month_of(each) == month_of(day)]
    shown = {*before, *same_month, *complete[-MAX_DAYS:]}
    found = closed_records(workspace, shown)
    records = {date.fromisoformat(each["day"]): each for each in [*found, record]}
    return dict(sorted(records.items()))


def _write_lists(workspace: Workspace, day: date, records: dict[date, dict[str, Any]]) -> None:
    """The list of the latest days, their drift, and the list of the day's month: older ones stay."""
    from tasks.report.drift import render_drift
    from tasks.report.page import MAX_DAYS, render_index

    months = sorted({month_of(each) for each in [*newest_closed(workspace), day]})
    latest = list(records.values())[-MAX_DAYS:]
    of_month = [r for d, r in records.items() if month_of(d) == month_of(day)]
    for name, shown in (("index", latest), (month_of(day), of_month)):
        page = render_index(shown, months=months)
        (workspace.reports / f"{name}.html").write_text(page, encoding="utf-8")
    (workspace.reports / "drift.html").write_text(render_drift(latest), encoding="utf-8")
