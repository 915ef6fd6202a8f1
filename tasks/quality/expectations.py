"""Great Expectations classes by name: what pipelines.yaml may ask for, checked without data."""

import difflib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.errors import ConfigError
from tasks.interactions.schema import INTERACTIONS

Severity = Literal["critical", "warning"]

COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
"""Arguments that name the columns an expectation looks at."""

_NEED_SQL = {"ExpectQueryResultsToMatchComparison", "ExpectTableRowCountToEqualOtherTable"}
"""Classes that only run inside a database."""

_OURS = {
    "batch_id",
    "catch_exceptions",
    "condition_parser",
    "description",
    "id",
    "meta",
    "rendered_content",
    "result_format",
    "windows",
}
"""Arguments that the validation sets itself, or that only Great Expectations' own site uses."""


@dataclass(frozen=True)
class CustomExpectation:
    """One rule that the operator added."""

    type: str
    """Great Expectations class name, such as ExpectColumnMeanToBeBetween."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of that class."""
    severity: Severity = "warning"
    """critical stops the day; warning is reported."""


def check_expectations(expectations: Sequence[CustomExpectation]) -> None:
    """Find every fault of `expectations` that needs no data to be seen.

    Imports Great Expectations (seconds) only if there is something to check.

    Raises:
        ConfigError: an unknown class, argument, column or value; all of them, one per line.
    """
    faults = [
        f"validate.expectations[{number}]: {fault}"
        for number, expectation in enumerate(expectations)
        for fault in _faults(expectation)
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def build(
    expectation_type: str, arguments: Mapping[str, Any], severity: Severity, check: int
) -> Any:
    """The Great Expectations object of one rule; `check` is its number in the result's meta."""
    import great_expectations.expectations as library

    if "row_condition" in arguments:
        arguments = {**arguments, "condition_parser": "pandas"}
    with warnings.catch_warnings():
        # conditions as text are deprecated for version 2, and the only kind that YAML can hold
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(library, expectation_type)(
            **arguments, severity=severity, meta={"check": check}
        )


def columns_of(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns an expectation looks at, in the order of its arguments."""
    named = [arguments[name] for name in COLUMN_ARGUMENTS if name in arguments]
    listed = [entry if isinstance(entry, list | tuple) else [entry] for entry in named]
    return tuple(dict.fromkeys(str(column) for columns in listed for column in columns))


def columns_read(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """`columns_of`, and what the row condition mentions."""
    words = set(re.findall(r"\w+", str(arguments.get("row_condition", ""))))
    mentioned = [name for name in INTERACTIONS.names if name in words]
    return tuple(dict.fromkeys([*columns_of(arguments), *mentioned]))


def known_types() -> list[str]:
    """Class names of every expectation that runs on a data frame."""
    import great_expectations.expectations as library

    return [
        name
        for name in dir(library)
        if re.fullmatch(r"Expect[A-Z]\w+", name) and name not in _NEED_SQL
    ]


def _faults(expectation: CustomExpectation) -> list[str]:
    if expectation.severity not in ("critical", "warning"):
        return [f"severity {expectation.severity!r} is neither critical nor warning"]
    types = known_types()
    if expectation.type not in types:
        return [
            f"type {expectation.type!r} is no expectation that runs on a data frame"
            + _closest(expectation.type, types)
        ]
    faults = _argument_faults(expectation)
    return faults or _column_faults(expectation) or _value_faults(expectation)


def _argument_faults(expectation: CustomExpectation) -> list[str]:
    import great_expectations.expectations as library

    fields = set(getattr(library, expectation.type).__fields__) - _OURS - {"severity"}
    return [
        f"{expectation.type} has no argument {name!r}{_closest(name, sorted(fields))}"
        for name in expectation.arguments
        if name not in fields
    ]


def _column_faults(expectation: CustomExpectation) -> list[str]:
    if expectation.type == "ExpectColumnToExist":
        return []
    return [
        f"interactions have no column {name!r}{_closest(name, INTERACTIONS.names)}"
        for name in columns_of(expectation.arguments)
        if name not in INTERACTIONS.names
    ]


def _value_faults(expectation: CustomExpectation) -> list[str]:
    try:
        build(expectation.type, expectation.arguments, expectation.severity, 0)
    except ValueError as error:
        return [f"{expectation.type}: {_first_by_argument(error)}"]
    return []


def _first_by_argument(error: ValueError) -> str:
    """One fault per argument: a union type lists every alternative that a value is not."""
    details: list[dict[str, Any]] = getattr(error, "errors", list)()
    messages: dict[str, str] = {}
    for detail in details:
        name = ".".join(str(part) for part in detail["loc"] if part != "__root__")
        messages.setdefault(name, detail["msg"])
    words = [f"{name}: {message}" if name else message for name, message in messages.items()]
    return "; ".join(words) or str(error)


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)
    return f"; closest: {', '.join(close)}"
