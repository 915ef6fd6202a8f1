"""The folder that every case is a copy of: two days of a small portal, the first complete."""

import gzip
import shutil
from pathlib import Path

import yaml

from corpus.case import COMPLETE, DAY, GOOD_ROWS, Case

CONFIG = {
    "home": "home",
    "pipelines": {
        "portal": {
            "source": {
                "format": "jsonl",
                "interactions": "logs/interactions/{date}/rows.jsonl",
                "items": "logs/items/{date}.jsonl",
            },
            "schedule": {"cron": "30 4 * * *"},
            # The first day has no champion and trains one; after it a day is only scored.
            "retrain": {"any": [{"rule": "cadence", "every_days": 30}]},
            "finetune": {"base": "base", "shots": 64, "head_epochs": 30, "adapter_epochs": 0},
            # All that the first day's 35 judged impressions could show, on their own day.
            "promote": {
                "min_gain": 0.0,
                "false_promotions_a_year": 150,
                "min_impressions": 2,
                "shadow_days": 0,
                "guardrails": {"slices": None, "calibration": None, "latency": None},
            },
        }
    },
}
"""Every path is relative, so that a copy of the folder is a pipeline of its own."""


def lay_out(folder: Path) -> Case:
    """Logs without a bad row, a base model of a few KB, and the config; nothing has run."""
    _write_logs(folder)
    write_base(folder / "base")
    case = Case(folder)
    (folder / "candidates.csv").write_text("user_id,item_id\nu1,n175\nu1,n176\n")
    case.config.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return case


def copy_case(prepared: Path, folder: Path) -> Case:
    """A case of its own. MLflow keeps absolute locations: they follow the copy."""
    shutil.copytree(prepared, folder, symlinks=True)
    case = Case(folder)
    columns = {
        "experiments": ["artifact_location"],
        "runs": ["artifact_uri"],
        "logged_models": ["artifact_location"],
        "model_versions": ["source", "storage_location"],
    }
    case.sql(
        *(
            f"UPDATE {table} SET {column} = replace({column}, '{prepared}/', '{folder}/')"  # noqa: S608
            for table, names in columns.items()
            for column in names
        )
    )
    return case


def _write_logs(folder: Path) -> None:
    from tasks.simulator.settings import SimulatorSettings
    from tasks.simulator.simulate import simulate

    settings = SimulatorSettings(
        seed=3,
        num_users=40,
        impressions_per_day=200,
        slate_size=6,
        births_per_day=30,
        late_share=0.0,
        duplicate_share=0.0,
        malformed_share=0.0,
    )
    raw = folder / "simulated"
    simulate(settings, out=raw, first_day=COMPLETE, days=2)
    for day in (COMPLETE, DAY):
        log = folder / "logs" / "interactions" / str(day) / "rows.jsonl"
        items = folder / "logs" / "items" / f"{day}.jsonl"
        for path, packed in (
            (log, sorted((raw / "interactions" / str(day)).iterdir())),
            (items, [raw / "items" / f"{day}.json.gz"]),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(gzip.decompress(file.read_bytes()) for file in packed))
    # The first day is large enough to judge a champion, the second small enough to be run often.
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:GOOD_ROWS]))
    shutil.rmtree(raw)


def write_base(folder: Path, *, width: int = 32) -> None:
    """A BERT of two layers that reads words letter by letter."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    # Two threads that wait for each other on a busy machine make so small a network slow.
    torch.set_num_threads(1)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    capitals = [letter.upper() for letter in letters]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *capitals, *(f"##{c}" for c in letters)]
    model = WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
