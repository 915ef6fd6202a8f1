"""A staged day against its suite, with real Great Expectations, one narrow frame at a time."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.quality.expectations import CustomExpectation, Severity, build
from tasks.quality.frames import as_pandas, count_rows, rows_at, staged_rows
from tasks.quality.suite import Check, RecentDay, Settings, custom_checks, default_suite

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds


@dataclass(frozen=True)
class ExpectationResult:
    """What one expectation found."""

    expectation: str
    """Great Expectations class name."""
    column: str | None
    severity: Severity
    success: bool
    observed: str
    """In words, with what was allowed."""
    unexpected: int
    """Rows that break it; 0 for a rule about the whole column."""
    rows: list[dict[str, Any]]
    """The first of them: event_id, source and the offending value."""


@dataclass(frozen=True)
class QualityReport:
    """Whether a day may be published, and all that was looked at."""

    results: list[ExpectationResult]

    @property
    def passed(self) -> bool:
        """Whether no critical expectation failed."""
        return all(result.success or result.severity != "critical" for result in self.results)

    @property
    def failed(self) -> list[ExpectationResult]:
        """What failed, the critical first."""
        failed = [result for result in self.results if not result.success]
        return sorted(failed, key=lambda result: result.severity != "critical")

    def to_json(self) -> dict[str, Any]:
        """The day's record under "validation"."""
        return {"passed": self.passed, "results": [asdict(result) for result in self.results]}


def validate_day(
    files: Sequence[Path],
    day: date,
    *,
    known_items: pa.Array | pa.ChunkedArray | None,
    recent: Sequence[RecentDay],
    settings: Settings,
    expectations: Sequence[CustomExpectation] = (),
    max_rows_shown: int = 20,
) -> QualityReport:
    """Judge the staged rows of `day`, and late rows of days before it, before publication.

    Row count and click rate are those of `day` alone; every other rule holds for late rows too,
    and a late row's time is held against its own day.

    Args:
        files: staged Parquet with the columns of INTERACTIONS; missing columns are all null.
        known_items: item ids of the catalogue; None leaves the rule about them out.
        recent: published days to hold row count and click rate against; may be empty.
        expectations: further rules, on any column; see `check_expectations`.
        max_rows_shown: most rows listed for one failed expectation.

    Raises:
        ConfigError: `settings` names a rule that does not exist.
    """
    staged = staged_rows(files)
    rows = count_rows(staged, day)
    checks, unjudged = default_suite(
        day, rows, known_items=known_items, recent=recent, settings=settings
    )
    checks = [*checks, *custom_checks(expectations)]
    if not staged.count_rows():
        # a mean of nothing has no value: the row count alone says what is wrong
        checks = [check for check in checks if check.type == "ExpectTableRowCountToBeBetween"]

    results: dict[int, ExpectationResult] = {}
    for group in _by_frame(checks):
        frame = as_pandas(_load(staged, checks[group[0]]))
        for number, outcome in _run(frame, group, checks, max_rows_shown):
            results[number] = _result(staged, checks[number], outcome)
        del frame
        pa.default_memory_pool().release_unused()
    judged = [results[number] for number in range(len(checks))]
    return QualityReport(judged + [_unjudged(check, words) for check, words in unjudged])


def _by_frame(checks: Sequence[Check]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for number, check in enumerate(checks):
        groups.setdefault(check.frame.name, []).append(number)
    return list(groups.values())


def _load(staged: "ds.Dataset", check: Check) -> pa.Table:
    return check.frame.derive(staged.to_table(columns=list(check.frame.columns)))


def _run(
    frame: "pd.DataFrame", group: Sequence[int], checks: Sequence[Check], max_rows_shown: int
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Great Expectations' own verdicts on one frame, by number of the check."""
    import great_expectations as gx

    with warnings.catch_warnings():
        # what the library thinks of pandas and of itself is nothing to an operator
        warnings.simplefilter("ignore")
        source = _context().data_sources.add_pandas("staged")
        definition = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
        suite = gx.ExpectationSuite(
            name="day",
            expectations=[
                build(
                    checks[number].type, checks[number].arguments, checks[number].severity, number
                )
                for number in group
            ],
        )
        verdict = definition.get_batch({"dataframe": frame}).validate(
            suite,
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": max_rows_shown,
                "return_unexpected_index_query": False,
            },
        )
    for result in verdict.results:
        yield result.expectation_config.meta["check"], result


def _context() -> Any:
    """An ephemeral context that writes no file, asks no server and draws no progress bar."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        ),
    )


def _result(staged: "ds.Dataset", check: Check, outcome: Any) -> ExpectationResult:
    found = outcome.result
    positions = [] if outcome.success else found.get("partial_unexpected_index_list") or []
    return ExpectationResult(
        expectation=check.type,
        column=check.column,
        severity=check.severity,
        success=bool(outcome.success),
        observed=_trouble(outcome.exception_info) or _observed(check.arguments, found),
        unexpected=int(found.get("unexpected_count") or 0),
        rows=rows_at(staged, positions, check.shown) if positions else [],
    )


def _unjudged(check: Check, words: str) -> ExpectationResult:
    return ExpectationResult(check.type, check.column, check.severity, True, words, 0, [])


def _trouble(exceptions: Mapping[str, Any]) -> str:
    """Why the expectation could not be evaluated; empty if it was."""
    nested = [info for info in exceptions.values() if isinstance(info, Mapping)]
    for info in nested or [exceptions]:
        if info.get("raised_exception"):
            return f"could not be evaluated: {info.get('exception_message')}"
    return ""


def _observed(arguments: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if "element_count" in found:
        words = f"{found.get('unexpected_count') or 0:,} of {found['element_count']:,}"
        mostly = arguments.get("mostly", 1)
        return words if mostly == 1 else f"{words}, allowed {100 * (1 - mostly):.4g} %"
    observed = found.get("observed_value")
    words = _number(observed)
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if low is not None and high is not None:
        return f"{words}, allowed {_number(low)} to {_number(high)}"
    if low is not None:
        return f"{words}, at least {_number(low)}"
    return words if high is None else f"{words}, at most {_number(high)}"


def _number(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
