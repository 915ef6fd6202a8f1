from functools import partial
from pathlib import Path
from shutil import copytree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.recommender.base import load_base
from tasks.recommender.labels.synonyms import MaskedWords, Neighbours, whole_words
from tasks.recommender.labels.translate import BackTranslation, load_translator
from tasks.recommender.labels.words import Span, drop_words, replace_words, with_case
from tests.unit.recommender.conftest import TOPICS

WORDS = [
    *(word for topic in TOPICS.values() for word in topic),
    *("##match", "matches", "2024", "cup", "goals"),
]


def save_base(folder: Path, masked: bool) -> Path:
    """A BERT over WORDS whose word embeddings are set: `match` and `matches` are nearest."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ":", ","]
    tokenizer = Tokenizer(WordPiece({w: n for n, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    model = BertForMaskedLM(config) if masked else BertModel(config)
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight.copy_(torch.eye(len(vocabulary), 32))
        near = torch.eye(32)[vocabulary.index("match")]
        for word, away in (("matches", 0.1), ("goals", 0.6), ("##match", 0.0), ("2024", 0.0)):
            weight[vocabulary.index(word)] = near + away * torch.eye(32)[vocabulary.index("soup")]
        weight[vocabulary.index("cup")] = near
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = save_base(tmp_path_factory.mktemp("words"), masked=False)
    return load_base(str(folder), device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def masked_base(tmp_path_factory):
    folder = save_base(tmp_path_factory.mktemp("masked"), masked=True)
    return load_base(str(folder), device="cpu", precision="fp32")


@given(
    st.lists(st.sampled_from(["goal", "in", "2", "—"]), max_size=12).map(" ".join),
    st.floats(0.01, 1),
    st.integers(1, 3),
)
@settings(max_examples=80)
def test_dropping_leaves_a_word_and_takes_one_and_keeps_the_order(text, share, copy):
    [altered] = drop_words([text], copy, share=share, seed=4)
    before, after = text.split(), altered.split()
    if len(before) < 2:
        assert altered == text
        return
    assert len(after) == len(before) - min(max(1, round(share * len(before))), len(before) - 1)
    rest = iter(before)
    assert all(word in rest for word in after)


def test_what_is_dropped_hangs_on_text_copy_and_seed_alone():
    texts = ["a b c d e f g h", "i j k l m n o p"]
    drop = partial(drop_words, share=0.3)
    assert drop(texts, 1, seed=1) == drop(texts[::-1], 1, seed=1)[::-1]
    assert len({drop(texts, copy, seed=1)[0] for copy in range(1, 9)}) > 3
    assert len({drop(texts, 1, seed=seed)[0] for seed in range(9)}) > 3


class Opposites:
    """Proposes one fixed word, for some."""

    def knows(self, word: str) -> bool:
        return word.lower() != "market"

    def propose(self, texts, spans):
        return [["other"] for _ in texts]


def test_replacing_keeps_case_punctuation_numbers_and_short_words():
    replace = partial(replace_words, share=1.0, synonyms=Opposites(), seed=1)
    [altered] = replace(["BREAKING: Market wins 2024's Cup  final, in May"], 1)
    assert altered == "OTHER: Market other 2024's Cup  other, in May"


def test_a_share_of_the_words_is_replaced_and_at_least_one():
    replace = partial(replace_words, synonyms=Opposites(), seed=1)
    for share, num in ((0.01, 1), (0.5, 4), (1.0, 8)):
        [altered] = replace(["news from many towns that were long quiet"], 1, share=share)
        assert altered.split().count("other") == num


def test_case_follows_the_word_that_was_there():
    assert [with_case("stock", like) for like in ("SHARE", "Share", "share", "A")] == [
        "STOCK",
        "Stock",
        "stock",
        "Stock",
    ]


def test_only_whole_words_with_letters_alone_are_words(base):
    words = whole_words(base.tokenizer)
    assert {"match", "matches", "goals", "soup"} <= set(words)
    # A part of a word, a number, a short word, special tokens, punctuation.
    assert not {"##match", "2024", "cup", "[MASK]", ":"} & set(words)


def test_words_of_marked_vocabularies_are_those_that_carry_the_mark():
    class Marked:
        all_special_ids = (0,)

        def get_vocab(self):
            return {"Ġspecial": 0, "Ġmatch": 1, "match": 2, "ĠMatch": 3, "Ġ2024": 4, "ches": 5}

    assert whole_words(Marked()) == {"match": 1, "Match": 3}


def test_neighbours_are_the_nearest_words_by_cosine_and_never_the_word_itself(base):
    found = Neighbours(base)
    # cos(match, matches) = 1 / √1.01 and cos(match, goals) = 1 / √1.36; all others are at right angles.
    assert found.propose(["Match of money"], [Span(0, 5)]) == [["matches", "goals"]]
    # cos(soup, goals) = 0.6 / √1.36, just above the least; cos(soup, matches) = 0.1 / √1.01.
    assert found.propose(["a soup"], [Span(2, 6)]) == [["goals"]]
    assert not found.knows("unheard")


def test_a_masked_lm_proposes_its_likeliest_whole_words_other_than_the_one_there(masked_base):
    from transformers import AutoModelForMaskedLM

    text, span = "team match soup", Span(5, 10)
    [words] = MaskedWords(masked_base).propose([text], [span])
    model = AutoModelForMaskedLM.from_pretrained(masked_base.folder).eval()
    read = masked_base.tokenizer("team [MASK] soup", return_tensors="pt")
    with torch.no_grad():
        logits = model(input_ids=read["input_ids"]).logits[0, 2]
    order = [masked_base.tokenizer.convert_ids_to_tokens(int(t)) for t in logits.argsort().flip(0)]
    expected = [w for w in order if w in whole_words(masked_base.tokenizer) and w != "match"]
    assert words == expected[:5]


def test_a_word_beyond_what_the_model_reads_gets_no_proposal(masked_base):
    text = "soup " * 100 + "match"
    assert MaskedWords(masked_base).propose([text], [Span(500, 505)]) == [[]]


def test_a_base_without_a_masked_lm_head_says_so_and_what_does_without(base):
    with pytest.raises(ModelError, match=r"no masked-LM head.*contrastive"):
        MaskedWords(base)


def save_translator(folder: Path, pairs: dict[str, str]) -> Path:
    """A T5 trained here until it turns each word into its pair."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = ["<pad>", "</s>", "<unk>", *dict.fromkeys([*pairs, *pairs.values()])]
    tokenizer = Tokenizer(WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(words),
            d_model=32,
            d_kv=16,
            d_ff=64,
            num_layers=1,
            num_heads=2,
            dropout_rate=0.0,
            decoder_start_token_id=0,
        )
    )
    read = fast(list(pairs), return_tensors="pt", padding=True)["input_ids"]
    labels = fast(list(pairs.values()), return_tensors="pt", padding=True)["input_ids"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = model(input_ids=read, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def translators(tmp_path_factory):
    there = {"goal": "tor", "bank": "ufer", "soup": "suppe"}
    back = {"tor": "gate", "ufer": "shore", "suppe": "soup"}
    return [
        str(save_translator(tmp_path_factory.mktemp(name), pairs))
        for name, pairs in (("there", there), ("back", back))
    ]


def test_back_translation_goes_there_by_one_model_and_back_by_the_other(translators):
    there = load_translator(translators[0], "cpu")
    assert there.translate(["goal", "bank"], sample=False) == ["tor", "ufer"]
    alter = BackTranslation(*translators, device="cpu", seed=1)
    assert alter(["bank", "soup", "goal"], 1) == ["shore", "soup", "gate"]
    assert alter(["bank", "soup"], 2) == alter(["bank", "soup"], 2)


def test_what_does_not_come_back_stays_as_it_was(translators, monkeypatch):
    alter = BackTranslation(*translators, device="cpu", seed=1)
    monkeypatch.setattr(alter._back, "translate", lambda texts, sample: [""] * len(texts))
    assert alter(["bank"], 1) == ["bank"]


def test_an_encoder_is_no_translation_model(base):
    with pytest.raises(ModelError, match=r"augment\.back_translation"):
        load_translator(str(base.folder), "cpu")


def test_half_a_translation_model_is_refused_rather_than_filled_up_at_random(translators, tmp_path):
    from safetensors.torch import load_file, save_file

    copytree(translators[0], tmp_path / "half")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    encoder = {name: value for name, value in weights.items() if "decoder" not in name}
    save_file(encoder, tmp_path / "half" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"decoder.* is not in its weights"):
        load_translator(str(tmp_path / "half"), "cpu")
