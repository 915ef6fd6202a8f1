import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tasks.errors import ModelError
from tasks.recommender import finetune as finetune_module
from tasks.recommender.finetune import finetune
from tasks.recommender.recipe import Lora, Recipe
from tasks.recommender.score import score
from tasks.recommender.shots import split_by_time
from tasks.recommender.snapshot import load_statistics, save_statistics
from tasks.recommender.store import load_ranker, save_ranker

AS_OF = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)


@pytest.fixture
def saved(ranker, rows, context, tmp_path, monkeypatch) -> Path:
    """A ranker with head and adapter, and its statistics."""
    monkeypatch.setattr(finetune_module, "clearly_below", lambda *_: True)
    split = split_by_time(rows, validation_share=0.25, holdout_share=0.25)
    recipe = Recipe(head_epochs=2, adapter_epochs=1, tuning=Lora(rank=4, alpha=8))
    tuned = finetune(ranker, split.shots, split.validation, context, recipe)
    save_ranker(tuned.ranker, tmp_path / "saved")
    save_statistics(tmp_path / "saved", context.item_hours, context.catalogue, AS_OF)
    return tmp_path / "saved"


def test_a_loaded_ranker_scores_as_the_saved_one(ranker, rows, context, tmp_path, saved):
    loaded = load_ranker(saved, device="cpu", precision="fp32")
    assert loaded.encoder.adapter is not None
    again = tmp_path / "again"
    assert save_ranker(loaded, again) == json.loads((saved / "ranker.json").read_text())["digest"]
    np.testing.assert_array_equal(
        score(loaded, rows, context),
        score(load_ranker(again, device="cpu", precision="fp32"), rows, context),
    )
    assert not np.allclose(score(loaded, rows, context), score(ranker, rows, context))


def test_a_version_is_small_and_holds_no_pickle(saved):
    files = sorted(path.name for path in saved.iterdir())
    assert files == [
        "adapter.safetensors",
        "head.safetensors",
        "ranker.json",
        "statistics.parquet",
    ]
    assert sum(path.stat().st_size for path in saved.iterdir()) < 3_000_000


@pytest.mark.parametrize("name", ["adapter.safetensors", "head.safetensors", "ranker.json"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ModelError, match=name):
        load_ranker(saved, device="cpu")


@pytest.mark.parametrize("name", ["adapter.safetensors", "head.safetensors"])
def test_altered_weights_are_refused(saved, name):
    content = bytearray((saved / name).read_bytes())
    content[-1] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(ModelError, match="altered"):
        load_ranker(saved, device="cpu")


def test_a_damaged_config_is_refused(saved):
    (saved / "ranker.json").write_text('{"format": 1')
    with pytest.raises(ModelError, match="damaged"):
        load_ranker(saved, device="cpu")


def test_a_format_of_the_future_is_refused(saved):
    config = json.loads((saved / "ranker.json").read_text())
    (saved / "ranker.json").write_text(json.dumps({**config, "format": 3}))
    with pytest.raises(ModelError, match="format 3"):
        load_ranker(saved, device="cpu")


def test_another_base_is_refused(saved):
    config = json.loads((saved / "ranker.json").read_text())
    config["base"]["sha256"] = "0" * 64
    (saved / "ranker.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="SHA-256"):
        load_ranker(saved, device="cpu")


def test_saved_statistics_hold_only_completed_hours(saved, context):
    item_hours, items, as_of = load_statistics(saved)
    assert as_of == AS_OF
    assert max(item_hours["hour"].to_pylist()) == AS_OF.replace(hour=11, minute=0)
    assert "title" in items.column_names


SERVE = """
import json, sys
import mlflow.pyfunc, pandas as pd
frame = pd.DataFrame({
    "history": [["goal match", "team coach"], []],
    "candidates": [["goal league", "bank stock"], ["soup bread"]],
    "candidate_ids": [["i0", "i1"], ["unheard of"]],
})
model = mlflow.pyfunc.load_model(sys.argv[1])
with_ids = model.predict(frame)
without = model.predict(frame.drop(columns="candidate_ids"))
print(json.dumps([with_ids, without]))
"""


def test_a_fresh_process_serves_a_version_through_mlflow(saved, tmp_path):
    import mlflow.pyfunc

    mlflow.pyfunc.save_model(
        tmp_path / "model", loader_module="tasks.recommender.pyfunc", data_path=saved
    )
    root = Path(__file__).parents[3]
    served = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SERVE, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert served.returncode == 0, served.stderr[-2000:]
    with_ids, without = json.loads(served.stdout.splitlines()[-1])
    assert [len(row) for row in with_ids] == [2, 1]
    assert all(0 < p < 1 for row in [*with_ids, *without] for p in row)
    assert with_ids != without


def test_landmarks_of_half_precision_take_half_the_bytes_and_score_the_same(ranker, tmp_path):
    vectors = torch.nn.functional.normalize(torch.randn(40, 32), dim=1).half().float()
    ranker.head.set_landmarks(vectors)
    ranker.head.opinion.data.normal_()
    ranker.head.forget()
    digest = save_ranker(ranker, tmp_path / "saved")
    with safe_open(tmp_path / "saved" / "head.safetensors", "pt") as stored:
        assert stored.get_tensor("landmarks").dtype == torch.float16
    loaded = load_ranker(tmp_path / "saved", device="cpu", precision="fp32")
    assert loaded.digest == digest
    assert torch.equal(loaded.head.landmarks, vectors)
