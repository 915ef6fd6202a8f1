from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.predict import predict_file


@pytest.mark.parametrize(
    ("task", "threshold", "message"),
    [
        ("filter", None, "--task filter needs --threshold, a click probability; add it"),
        ("rank", 0.1, "--threshold 0.1 says what a filter keeps, .* add --task filter"),
        ("filter", 1.5, "--threshold 1.5 is no probability; give one from 0 to 1"),
        ("filter", float("nan"), "--threshold nan is no probability"),
    ],
)
def test_a_task_and_a_threshold_that_do_not_fit_are_refused_before_anything_is_read(
    task, threshold, message
):
    with pytest.raises(ConfigError, match=message):
        predict_file(None, Path("no/such.csv"), None, task=task, threshold=threshold)
