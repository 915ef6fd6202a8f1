"""The knobs beside the labels, from pipelines.yaml through training and the contest."""

import pyarrow as pa
import pytest
from portal import DAYS, write_config
from published import publish_days
from versions import crown

from tasks import training_rows
from tasks.errors import ModelError
from tasks.evaluate import evaluate
from tasks.references import Trigger
from tasks.register import register
from tasks.train import train
from tasks.workspace import open_workspace

FEW = {"shots": 64, "window_days": 2, "warm_start": "champion", "tuning": {"method": "lora"}}
KNOBS = {
    "adapter_epochs": 1,
    "adapter_slates": 16,
    "adapter_negatives": 3,
    "adapter_history": 3,
    "adapter_max_items": 128,
    "propensity": True,
    "long_short": True,
    "augment": {"copies": 1, "token_dropout": 0.2},
    "unlabelled": {"pseudo_labels": 0.2},
}
RETRAIN = Trigger(retrain=True, reasons=["always"])


def opened(folder, portal_logs, warm_home, **knobs):
    folder.mkdir()
    return open_workspace(
        write_config(folder, portal_logs, home=warm_home, finetune=FEW | knobs), "portal"
    )


def test_the_knobs_act_from_the_file_through_training_and_contest(tmp_path, warm_home, portal_logs):
    workspace = opened(tmp_path / "all", portal_logs, warm_home, **KNOBS)
    first, second = publish_days(workspace, DAYS[:2])
    trained = train.fn(workspace, first)
    (unanswered,) = trained.summary["notes"]
    assert "zero-shot score, whose confidence" in unanswered
    assert "merge" in {epoch["phase"] for epoch in trained.summary["epochs"]}
    made = register.fn(workspace, first, trained, RETRAIN)
    crown(workspace, made.version, over=None)

    again = train.fn(workspace, second)
    (answered,) = again.summary["notes"]
    assert "were answered by the start" in answered
    challenger = register.fn(workspace, second, again, RETRAIN)
    contest = evaluate.fn(workspace, second, challenger).contest
    assert contest["debiased"]


def test_propensity_without_positions_is_an_error_that_says_what_to_do(
    tmp_path, warm_home, portal_logs, monkeypatch
):
    plain = training_rows.day_rows

    def placeless(*given, **more):
        rows = plain(*given, **more)
        column = rows.column_names.index("position")
        return rows.set_column(column, rows.schema.field(column), pa.nulls(len(rows), pa.int32()))

    monkeypatch.setattr(training_rows, "day_rows", placeless)
    workspace = opened(tmp_path / "bare", portal_logs, warm_home, adapter_epochs=0, propensity=True)
    (first,) = publish_days(workspace, DAYS[:1])
    with pytest.raises(ModelError, match="turn `propensity` off"):
        train.fn(workspace, first)
