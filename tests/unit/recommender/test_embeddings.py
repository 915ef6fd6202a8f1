from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tasks.recommender import embeddings
from tasks.recommender.embeddings import embed


class Lengths:
    """Encodes a text as its length, and remembers what it was asked."""

    digest = "lengths"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], np.float32)


def test_only_texts_that_were_never_seen_are_encoded(tmp_path: Path):
    encoder = Lengths()
    embed(encoder, ["a", "bb", "a"], tmp_path)
    vectors = embed(encoder, ["ccc", "bb", "a"], tmp_path)
    assert encoder.asked == ["a", "bb", "ccc"]
    assert vectors.tolist() == [[3, 1], [2, 1], [1, 1]]


def test_a_text_has_the_same_vector_encoded_or_read(tmp_path: Path):
    class Thirds(Lengths):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return super().encode(texts) / 3

    first = embed(Thirds(), ["a", "bb"], tmp_path)
    np.testing.assert_array_equal(first, embed(Thirds(), ["a", "bb"], tmp_path))


def test_what_was_encoded_before_a_kill_is_not_encoded_again(tmp_path: Path, monkeypatch):
    class Killed(Lengths):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            if self.asked:
                raise KeyboardInterrupt
            return super().encode(texts)

    monkeypatch.setattr(embeddings, "ENCODED_AT_ONCE", 2)
    with pytest.raises(KeyboardInterrupt):
        embed(Killed(), ["a", "bb", "ccc"], tmp_path)
    (tmp_path / "lengths" / "torn.unfinished").write_bytes(b"half a file")
    encoder = Lengths()
    assert embed(encoder, ["a", "bb", "ccc"], tmp_path)[:, 0].tolist() == [1, 2, 3]
    assert encoder.asked == ["ccc"]


def test_many_appends_become_one_file_and_the_oldest_are_forgotten(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(embeddings, "MAX_FILES", 3)
    monkeypatch.setattr(embeddings, "MAX_VECTORS", 3)
    texts = ["a" * n for n in range(1, 5)]
    for text in texts:
        embed(Lengths(), [text], tmp_path)
    assert len(list((tmp_path / "lengths").glob("*.arrow"))) == 1
    encoder = Lengths()
    embed(encoder, texts, tmp_path)
    assert encoder.asked == ["a"]


def test_caches_of_encoders_used_long_ago_are_forgotten(tmp_path: Path):
    for number in range(embeddings.MAX_ENCODERS + 2):
        encoder = Lengths()
        encoder.digest = f"adapter-{number}"
        embed(encoder, ["a"], tmp_path)
    assert len(list(tmp_path.iterdir())) == embeddings.MAX_ENCODERS
