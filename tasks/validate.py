"""Stage: Great Expectations on the staged rows, before anything is published."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.config import Pipeline
from tasks.errors import LakeError, LakeUnavailable, ValidationFailed
from tasks.interactions.rows import FUTURE
from tasks.references import Staged, Validated
from tasks.stage import Clock, logger, stage
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.quality.expectations import CustomExpectation
    from tasks.quality.suite import RecentDay
    from tasks.quality.validate import ExpectationResult
    from tasks.registry.journal import Entry

SHOWN_ROWS = 3
"""Rows named in an error; the report lists more."""


@stage
def validate(workspace: Workspace, staged: Staged) -> Validated:
    """Judge the staged day; warnings are reported, a critical failure stops the day.

    Raises:
        ValidationFailed: a critical expectation failed, or too many rows were refused.
    """
    from tasks.quality.suite import Settings
    from tasks.quality.validate import validate_day

    clock = Clock()
    rules = workspace.config.validate_
    _refuse_too_dirty(staged, rules.max_quarantined)
    report = validate_day(
        [Path(file) for file in staged.files],
        staged.day,
        known_items=_known_items(workspace),
        recent=recent_days(workspace, staged.day),
        settings=Settings(
            min_row_ratio=rules.min_row_ratio,
            max_row_ratio=rules.max_row_ratio,
            min_click_ratio=rules.min_click_ratio,
            max_click_ratio=rules.max_click_ratio,
            min_known_items=rules.min_known_items,
            time_zone=workspace.config.source.time_zone,
            severities=dict(rules.severities.items()),
        ),
        expectations=custom_expectations(workspace.config),
    )
    for failed in report.failed:
        logger.warning("%s  validate   %s", staged.day, _words(failed))
    if not report.passed:
        raise ValidationFailed(_stopped(staged.day, report.failed))
    judged = len(report.results)
    logger.info(
        "%s  validate   %d of %d expectations hold", staged.day, judged - len(report.failed), judged
    )
    return Validated(seconds=clock.seconds, **report.to_json())


def custom_expectations(pipeline: Pipeline) -> list["CustomExpectation"]:
    """The operator's own rules, as the quality noun takes them."""
    from tasks.quality.expectations import CustomExpectation

    return [
        CustomExpectation(type=rule.type, arguments=rule.arguments, severity=rule.severity)
        for rule in pipeline.validate_.expectations
    ]


def recent_days(workspace: Workspace, day: date) -> list["RecentDay"]:
    """Rows and click rate of the published days before `day`, from their hourly counts."""
    from tasks.quality.suite import RecentDay

    published = workspace.journal.entries(event="published")
    hours = _hours_before(workspace, day, published)
    # A day that only late rows have reached yet says nothing of what a day is like.
    whole = {entry.day for entry in published}
    days = hours.group_by("event_date").aggregate([("impressions", "sum"), ("clicks", "sum")])
    return [
        RecentDay(
            row["event_date"], row["impressions_sum"], row["clicks_sum"] / row["impressions_sum"]
        )
        for row in days.sort_by("event_date").to_pylist()
        if row["event_date"] in whole
    ]


def _hours_before(workspace: Workspace, day: date, published: "Sequence[Entry]") -> pa.Table:
    """The hourly counts of the recent days, without what `day` itself has brought them.

    A day that was killed after its publication is validated again, and must find what it found
    before: its late rows are counted in earlier days by then. So it reads the counts as the last
    day before it left them, or those of now where that state was pruned.
    """
    from tasks.interactions.publish import published_revision

    def read(version: int | None) -> pa.Table:
        return workspace.lake.read(
            "item_hours",
            columns=["event_date", "impressions", "clicks"],
            days=(
                day - timedelta(days=workspace.config.validate_.recent_days),
                day - timedelta(days=1),
            ),
            version=version,
        )

    earlier = (entry for entry in reversed(published) if entry.day and entry.day < day)
    last = next(earlier, None)
    if last is None or published_revision(workspace.lake, day) is None:
        return read(None)
    try:
        return read(last.evidence["item_hours"])
    except LakeUnavailable:
        raise
    except LakeError:
        return read(None)


def _known_items(workspace: Workspace) -> pa.ChunkedArray:
    return workspace.lake.read("items", columns=["item_id"])["item_id"]


def _refuse_too_dirty(staged: Staged, allowed: float) -> None:
    share = staged.quarantined / staged.rows_read if staged.rows_read else 0.0
    if share > allowed:
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in staged.reasons.items())
        many_are_future = staged.reasons.get(FUTURE, 0) > staged.quarantined / 2
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        clock = f" (or this machine's clock, if it is not {now})" if many_are_future else ""
        raise ValidationFailed(
            f"{staged.quarantined:,} of {staged.rows_read:,} rows of {staged.day} were refused "
            f"({share:.0%}; validate.max_quarantined is {allowed:.0%}): {reasons}. Nothing of the day "
            f"was published; the champion stays in service. The refused rows are in {staged.folder}. "
            f"Repair the source{clock}, then run the day again."
        )


def _words(result: "ExpectationResult") -> str:
    where = f" of {result.column}" if result.column else ""
    rows = ", ".join(
        f"{row['event_id']} in {row['source']} ({row['value']})" for row in result.rows[:SHOWN_ROWS]
    )
    tail = f"; such as {rows}" if rows else ""
    return f"{result.severity}: {result.expectation}{where}: {result.observed}{tail}"


def _stopped(day: date, failed: list["ExpectationResult"]) -> str:
    critical = [_words(result) for result in failed if result.severity == "critical"]
    return "\n  ".join(
        [
            f"{day} breaks {len(critical)} critical expectation{'s'[: len(critical) != 1]}. Nothing of "
            "it was published; the champion stays in service. Repair the source, or change validate in "
            "pipelines.yaml, then run the day again.",
            *critical,
        ]
    )
