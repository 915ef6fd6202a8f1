import subprocess
import sys

import pytest

from tasks.errors import ConfigError
from tasks.quality.expectations import CustomExpectation, check_expectations, known_types


def faults(*expectations: CustomExpectation) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_expectations(expectations)
    return str(caught.value).splitlines()


def test_sound_expectations_are_accepted() -> None:
    check_expectations(
        [
            CustomExpectation(
                "ExpectColumnMeanToBeBetween",
                {"column": "dwell_seconds", "min_value": 1, "row_condition": "label == 1"},
            ),
            CustomExpectation("ExpectCompoundColumnsToBeUnique", {"column_list": ["user_id"] * 2}),
            CustomExpectation("ExpectColumnToExist", {"column": "price"}, "critical"),
        ]
    )


def test_an_unknown_class_names_the_closest() -> None:
    (fault,) = faults(CustomExpectation("ExpectColumnMeanToBeBetwen", {"column": "label"}))
    assert fault.startswith("validate.expectations[0]: type 'ExpectColumnMeanToBeBetwen'")
    assert "closest: ExpectColumnMeanToBeBetween" in fault


def test_an_unknown_argument_names_the_closest() -> None:
    (fault,) = faults(
        CustomExpectation("ExpectColumnMeanToBeBetween", {"column": "label", "min_valu": 1})
    )
    assert "has no argument 'min_valu'; closest: min_value" in fault


def test_an_unknown_column_names_the_closest() -> None:
    (fault,) = faults(
        CustomExpectation("ExpectColumnMaxToBeBetween", {"column": "dwell", "max_value": 9})
    )
    assert "no column 'dwell'; closest: dwell_seconds" in fault


def test_a_missing_argument_and_a_wrong_value_are_named() -> None:
    missing, wrong = faults(
        CustomExpectation("ExpectColumnValuesToBeInSet", {"value_set": [0, 1]}),
        CustomExpectation("ExpectColumnMaxToBeBetween", {"column": "label", "max_value": "high"}),
    )
    assert "ExpectColumnValuesToBeInSet: column: field required" in missing
    assert "ExpectColumnMaxToBeBetween: max_value:" in wrong


def test_all_faults_are_told_at_once() -> None:
    told = faults(
        CustomExpectation("ExpectNothing"),
        CustomExpectation("ExpectColumnToExist", {"column": "label"}, "info"),  # type: ignore[arg-type]
        CustomExpectation("ExpectColumnValuesToNotBeNull", {"column": "label", "meta": {}}),
    )
    assert [fault[:24] for fault in told] == [f"validate.expectations[{i}]:"[:24] for i in range(3)]
    assert "neither critical nor warning" in told[1]
    assert "no argument 'meta'" in told[2]


def test_every_expectation_of_the_library_that_runs_on_frames_is_known() -> None:
    types = known_types()
    assert len(types) > 50
    assert "ExpectColumnValuesToMatchRegex" in types
    assert "ExpectQueryResultsToMatchComparison" not in types


def test_without_expectations_the_library_is_not_imported() -> None:
    code = (
        "import sys; from tasks.quality.expectations import check_expectations as c; "
        "import tasks.quality.validate; c([]); "
        "assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
