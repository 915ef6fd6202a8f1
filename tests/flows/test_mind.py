"""The shipped `mind` pipeline on real logs: a weekend of the MIND sample, as an operator runs it."""

from datetime import date
from pathlib import Path

import pytest

from flows.runs import run_range

ROOT = Path(__file__).parents[2]


@pytest.mark.mind
@pytest.mark.slow
def test_a_challenger_ranks_real_logs_that_nothing_was_trained_on_better_than_zero_shot(
    mind_dir, tmp_path, monkeypatch, prefect_server
):
    monkeypatch.setenv("MIND_DIR", str(mind_dir))
    monkeypatch.setenv("DAYSPRING_HOME", str(tmp_path))
    days = run_range(
        ROOT / "pipelines.yaml", "mind", date(2019, 11, 9), date(2019, 11, 10), force=False
    )
    assert [day["rows_read"] for day in days] == [16_285, 19_377]
    assert all(day["published"] == day["rows_read"] for day in days)
    sunday = days[-1]
    # Saturday's challenger has too few judges on its own day, and is judged on all of Sunday.
    assert days[0]["verdict"] == "not enough evidence"
    (saturdays,) = sunday["shadows"]
    assert saturdays["looks"] == 2 and saturdays["gain"] > 0.05
