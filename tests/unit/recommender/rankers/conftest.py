"""Tiny language models made here: a masked one with WordPiece, and causal ones with other tokenizers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.recommender.base import Base, load_base
from tasks.recommender.rankers.template import Template
from tests.unit.recommender.conftest import TOPICS

WORDS = ["yes", "no", "maybe", "liked", "disliked", "next", "good", "answer", "the", "user", "a"]
TEMPLATE = Template(
    instruction="the user",
    liked="liked: {titles}.",
    disliked="disliked: {titles}.",
    item="next: {title}",
    question="good?",
    answer="answer: {answer}.",
    positive=("Yes",),
    negative=("No",),
)
CORPUS = [
    *[" ".join(words) for words in TOPICS.values()],
    *["liked: goal; bank.\ndisliked: soup.\nnext: oven\ngood?\nanswer: Yes.\n\nthe user"] * 20,
    *["liked: goal; bank.\ndisliked: soup.\nnext: oven\ngood?\nanswer: No.\n\nthe user"] * 20,
    *["answer:Yes", "answer:No", "Yes indeed", "Yes maybe", "No way"] * 9,
]


def small(config: type, **more: Any) -> Any:
    return config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        **more,
    )


@pytest.fixture(scope="session")
def masked_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with its masked-LM head, and an uncased word vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-masked")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [p + letter for letter in "abcdefghijklmnopqrstuvwxyz" for p in ("", "##")]
    topics = [word for topic in TOPICS.values() for word in topic]
    words = list(dict.fromkeys([*special, *".,;:?![]", *topics, *WORDS, *letters]))
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = small(BertConfig, vocab_size=len(words), intermediate_size=64)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def byte_level() -> Any:
    """A byte-level BPE that knows " Yes" and "Yes" as two tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def gpt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 whose tokenizer adds nothing, and has no padding token."""
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-gpt")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(), eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=128,
        initializer_range=0.3,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose SentencePiece-like tokenizer writes ▁, adds BOS and EOS, and pads on the left."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<unk>", "<s>", "</s>"],
        unk_token="<unk>",
        initial_alphabet=list("\n:;.?abcdefghijklmnopqrstuvwxyzYN"),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = small(LlamaConfig, vocab_size=len(fast), intermediate_size=64)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def base_of(masked_folder: Path, gpt_folder: Path, llama_folder: Path) -> Callable[[str], Base]:
    """The tiny model of that name, on the processor, in fp32."""
    folders = {"masked": masked_folder, "gpt": gpt_folder, "llama": llama_folder}
    return lambda name: load_base(str(folders[name]), device="cpu", precision="fp32")
