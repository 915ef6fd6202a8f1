"""`benchmarks/gpu.py` on the processor, so that it works when somebody has a GPU."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.recommender.conftest import base_folder

__all__ = ["base_folder"]
SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import gpu

    return gpu


def _run(
    benchmark: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any, *options: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options])
    code = benchmark.main()
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_whole_script_runs_on_the_processor_and_agrees_with_itself(
    benchmark: Any, base_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    sizes = ("--impressions", "24", "--items", "60", "--steps", "2", "--peak-tflops", "1", "--json")
    options = ("--device", "cpu", "--base", str(base_folder), *sizes)
    code, out, _ = _run(benchmark, capsys, monkeypatch, *options)
    found = json.loads(out)
    exact, coarse = found["correct"]
    assert code == 0
    assert (exact["scores"], exact["gradient"]) == (0.0, 0.0)  # the same arithmetic twice
    assert coarse["scores"] > 0 and coarse["gradient"] > 0  # bf16 was really computed in
    assert 0 < found["training"]["share_of_peak"] < 1
    assert found["day"]["rows"] == 24 * 37
    assert "fine-tuning" in benchmark.table(found)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_it_says_so_in_one_line(
    benchmark: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    code, out, error = _run(benchmark, capsys, monkeypatch)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "--device cpu" in error


def test_the_flops_of_a_layer_by_hand(benchmark: Any) -> None:
    from transformers import BertConfig

    config = BertConfig(hidden_size=2, intermediate_size=3)
    # One text of 5 tokens: 5 · (8 · 4 + 4 · 2 · 3 + 4 · 5 · 2) = 5 · 96.
    assert benchmark._forward_flops(config, 5, 1) == 480
