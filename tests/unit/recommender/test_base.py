import shutil
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import ModelError
from tasks.recommender import base as base_module
from tasks.recommender.base import load_base
from tasks.recommender.encoder import Encoder


def test_weights_that_are_not_the_published_ones_are_refused(base_folder: Path, monkeypatch):
    name = str(base_folder)
    with pytest.raises(ModelError, match="SHA-256"):
        load_base(name, device="cpu", expected_sha256="0" * 64)


def test_the_packaged_weights_are_checked_against_the_published_checksum(monkeypatch):
    package = base_module.PACKAGED["all-MiniLM-L6-v2"][0]
    monkeypatch.setitem(base_module.PACKAGED, "all-MiniLM-L6-v2", (package, "0" * 64))
    with pytest.raises(ModelError, match="altered"):
        load_base("all-MiniLM-L6-v2", device="cpu")


def test_a_folder_with_pickled_weights_only_is_refused(base_folder: Path, tmp_path: Path):
    shutil.copytree(base_folder, tmp_path / "base")
    weights = tmp_path / "base" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ModelError, match="no other kind is ever loaded"):
        load_base(str(tmp_path / "base"), device="cpu")


def test_a_padded_batch_gives_each_text_the_vector_it_has_alone(base_folder: Path):
    encoder = Encoder(load_base(str(base_folder), device="cpu", precision="fp32"))
    texts = ["goal", "bank market stock rate fund goal match", "soup bread"]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_minilm_puts_like_titles_closer_than_unlike_ones():
    encoder = Encoder(load_base("all-MiniLM-L6-v2", device="cpu", precision="fp32"))
    derby, match, bank = encoder.encode(
        ["Late goal decides the derby", "Striker wins the match", "Central bank holds its rate"]
    )
    assert derby @ match > derby @ bank + 0.2
