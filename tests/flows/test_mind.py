"""The shipped `mind` pipeline on real logs: three days of the MIND sample, as an operator runs it."""

from datetime import date
from pathlib import Path

import pytest

from flows.runs import run_range

ROOT = Path(__file__).parents[2]


@pytest.mark.mind
@pytest.mark.slow
def test_real_logs_are_ranked_better_than_zero_shot_before_anything_trains_on_them(
    mind_dir, tmp_path, monkeypatch, prefect_server
):
    monkeypatch.setenv("MIND_DIR", str(mind_dir))
    monkeypatch.setenv("DAYSPRING_HOME", str(tmp_path))
    days = run_range(
        ROOT / "pipelines.yaml", "mind", date(2019, 11, 9), date(2019, 11, 11), force=False
    )
    assert [day["rows_read"] for day in days] == [16_285, 19_377, 39_924]
    assert all(day["published"] == day["rows_read"] for day in days)
    monday = days[-1]
    assert monday["champion"] != "zero-shot", "two days of shots promote a challenger"
    # By hand, the same kind of statistics gave 0.678 on this day, and text alone 0.649.
    assert monday["champion_auc"] >= max(monday["zero_shot_auc"], 0.668)
