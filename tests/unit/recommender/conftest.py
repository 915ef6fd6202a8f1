"""A two-layer BERT made here, and a portal of three topics whose readers keep to theirs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.interactions.schema import HISTORY, UTC_TIME
from tasks.recommender.context import Context
from tasks.recommender.hybrid import HybridRanker, zero_shot
from tasks.recommender.statistics import count_item_hours

# Two threads that wait for each other on a busy machine make these tiny networks slow.
torch.set_num_threads(1)

TOPICS = {
    "sport": ["goal", "match", "team", "coach", "league"],
    "money": ["bank", "market", "stock", "rate", "fund"],
    "food": ["soup", "bread", "recipe", "oven", "salt"],
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers and 32 dimensions with its own word vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *[w for topic in TOPICS.values() for w in topic]]
    model = WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture
def ranker(base_folder: Path) -> HybridRanker:
    return zero_shot(str(base_folder), device="cpu", precision="fp32")


def make_catalogue(num_items: int = 60, seed: int = 0) -> pa.Table:
    """Titles of three words of one topic each; item `n` is of topic n mod 3."""
    rng = np.random.default_rng(seed)
    topics = [list(TOPICS)[n % 3] for n in range(num_items)]
    titles = [" ".join(rng.choice(TOPICS[topic], 3, replace=False)) for topic in topics]
    return pa.table(
        {"item_id": [f"i{n}" for n in range(num_items)], "title": titles, "category": topics}
    )


def make_rows(num_slates: int = 120, slate_size: int = 6, seed: int = 1) -> pa.Table:
    """One slate a quarter of an hour; its reader clicks one item of the topic of the history."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list] = {name: [] for name in ("time", "slate", "user", "item", "label")}
    histories = []
    for slate in range(num_slates):
        topic = int(rng.integers(3))
        own = 3 * rng.integers(0, 20, 5) + topic
        shown = rng.permutation(60)[: slate_size - 1]
        shown = shown[shown % 3 != topic]
        candidates = [int(3 * rng.integers(20) + topic), *shown.tolist()]
        for place, item in enumerate(candidates):
            columns["time"].append(NOON + timedelta(minutes=15 * slate))
            columns["slate"].append(f"s{slate}")
            columns["user"].append(f"u{slate % 30}")
            columns["item"].append(f"i{item}")
            columns["label"].append(int(place == 0))
            histories.append([{"item_id": f"i{item}", "label": 1} for item in own])
    times = pa.array(columns["time"], UTC_TIME)
    return pa.table(
        {
            "event_time": times,
            "event_date": times.cast(pa.date32()),
            "impression_id": columns["slate"],
            "user_id": columns["user"],
            "item_id": columns["item"],
            "label": pa.array(columns["label"], pa.int8()),
            "history": pa.array(histories, HISTORY),
        }
    )


@pytest.fixture
def rows() -> pa.Table:
    return make_rows()


@pytest.fixture
def context(rows: pa.Table, tmp_path: Path) -> Context:
    return Context(make_catalogue(), count_item_hours(rows), None, tmp_path / "embeddings")
