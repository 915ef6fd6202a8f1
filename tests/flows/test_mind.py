"""The shipped `mind` pipeline on real logs: a weekend of the MIND sample, as an operator runs it."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from flows.runs import run_range

ROOT = Path(__file__).parents[2]


@pytest.fixture
def head_only(tmp_path: Path) -> Path:
    """The shipped file without the adapter's phase, whose minutes of a core rarely decide here."""
    document = yaml.safe_load((ROOT / "pipelines.yaml").read_text())
    document["pipelines"]["mind"]["finetune"]["adapter_epochs"] = 0
    path = tmp_path / "pipelines.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.mind
@pytest.mark.slow
def test_a_challenger_ranks_real_logs_that_nothing_was_trained_on_better_than_zero_shot(
    mind_dir, head_only, tmp_path, monkeypatch, prefect_server
):
    monkeypatch.setenv("MIND_DIR", str(mind_dir))
    monkeypatch.setenv("DAYSPRING_HOME", str(tmp_path))
    days = run_range(head_only, "mind", date(2019, 11, 9), date(2019, 11, 10), force=False)
    assert [day["rows_read"] for day in days] == [16_285, 19_377]
    assert all(day["published"] == day["rows_read"] for day in days)
    sunday = days[-1]
    # On Sunday's holdout +0.18 was seen. A few articles have most of its clicks: that is not enough
    # evidence to go live on, and the challenger stays in shadow.
    assert sunday["verdict"] in {"promote", "not enough evidence"}
    assert (sunday["verdict"] == "promote") == (sunday["in_shadow_until"] is None)
    assert sunday["contest"]["challenger_auc"] >= sunday["contest"]["champion_auc"] + 0.05
