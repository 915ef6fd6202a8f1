"""A ranker of texts through the stages, by its kind in pipelines.yaml alone."""

import pytest
from portal import DAYS, write_config
from published import publish_days
from versions import crown

from tasks.context import day_rows, published_context
from tasks.models import load
from tasks.recommender.recipe import CrossEncoder
from tasks.recommender.score import score
from tasks.references import Trigger
from tasks.register import register
from tasks.train import train
from tasks.warm_start import load_start, started_from
from tasks.workspace import Workspace, open_workspace

FEW = {
    "shots": 64,
    "window_days": 2,
    "head_epochs": 4,
    "adapter_epochs": 0,
    "adapter_slates": 12,
    "adapter_negatives": 3,
    "warm_start": "champion",
    "ranker": {"kind": "cross_encoder", "max_tokens": 48, "history": 2},
}


@pytest.fixture
def workspace(tmp_path, warm_home, portal_logs) -> Workspace:
    return open_workspace(
        write_config(tmp_path, portal_logs, home=warm_home, finetune=FEW), "portal"
    )


def test_a_cross_encoder_is_trained_registered_loaded_and_started_from(workspace):
    first, second = publish_days(workspace, DAYS[:2])
    assert load(workspace, None).task.settings == CrossEncoder(max_tokens=48, history=2)
    trained = train.fn(workspace, first)
    assert trained.summary["base"]["name"] == workspace.config.finetune.base
    assert {epoch["phase"] for epoch in trained.summary["epochs"]} == {"start", "head"}
    made = register.fn(workspace, first, trained, Trigger(retrain=True, reasons=["always"]))
    ranker = load(workspace, made.version)
    assert ranker.digest != load(workspace, None).digest

    rows = day_rows(workspace, second, days=1).slice(0, 40)
    context = published_context(workspace, rows, second, days=2)
    found = score(ranker, rows, context)
    assert found.shape == (40,)
    assert ((found > 0) & (found < 1)).all()

    crown(workspace, made.version, over=None)
    champion = load_start(workspace, started_from(workspace, second))
    assert champion.digest == ranker.digest
    again = train.fn(workspace, second)
    assert again.summary["warm_start"]["version"] == made.version
