from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.errors import ModelError
from tasks.interactions.schema import ITEM_HOURS, UTC_TIME
from tasks.recommender.base import load_base
from tasks.recommender.encoder import Encoder
from tasks.recommender.labels.pretrain import (
    MASKED_SHARE,
    ContrastiveLoss,
    MaskedLoss,
    known_texts,
    pretrain,
)
from tasks.recommender.recipe import (
    IA3,
    AdaLora,
    Bottleneck,
    Full,
    HeadOnly,
    Lora,
    Optimization,
    Prefix,
    PromptTuning,
    PTuning,
    TopLayers,
    Tuning,
    Unlabelled,
)
from tests.unit.recommender.conftest import TOPICS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LORA = Lora(rank=4, alpha=8, layers=2)
FAST = Optimization(encoder_learning_rate=0.02)


@pytest.fixture(scope="module")
def masked_folder(tmp_path_factory, base_folder):
    """The tiny BERT with a masked-LM head and a mask."""
    from tokenizers import AddedToken
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("masked-bert")
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    tokenizer.add_special_tokens({"mask_token": AddedToken("[MASK]"), "sep_token": "[SEP]"})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(base_folder, vocab_size=len(tokenizer))
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def texts(num: int, seed: int) -> list[str]:
    """Words of one topic each: a word is told by those beside it."""
    rng = np.random.default_rng(seed)
    topics = list(TOPICS.values())
    drawn = (" ".join(rng.choice(topics[n % 3], 4)) for n in range(num * 4))
    return list(dict.fromkeys(drawn))[:num]


def started(folder, tuning: Tuning = LORA) -> Encoder:
    encoder = Encoder(load_base(str(folder), device="cpu", precision="fp32"))
    encoder.start_training(tuning, None, seed=0)
    return encoder


def run(encoder: Encoder, method: str, *, epochs: int = 4, seed: int = 3, num: int = 128):
    unlabelled = Unlabelled(pretrain=method, pretrain_epochs=epochs)
    generator = torch.get_rng_state()
    losses = pretrain(encoder, texts(num, seed=1), unlabelled, FAST, seed=seed)
    assert torch.equal(torch.get_rng_state(), generator)
    return losses


def held_out_loss(encoder: Encoder, method: str) -> float:
    """On texts of another draw, under fixed masks and dropout."""
    read = set(texts(128, seed=1))
    tokens = encoder.tokenize([text for text in texts(200, seed=9) if text not in read])
    if method == "masked_lm":
        loss = MaskedLoss(encoder, np.random.default_rng(5))
    else:
        loss = ContrastiveLoss(encoder)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(5)
        encoder.network.train()
        value = loss(tokens).item()
        encoder.network.eval()
    return value


@pytest.mark.parametrize("method", ["masked_lm", "contrastive"])
def test_it_lowers_the_loss_on_held_out_texts(masked_folder, method):
    encoder = started(masked_folder)
    before = held_out_loss(encoder, method)
    losses = run(encoder, method)
    assert losses[-1] < losses[0]
    assert held_out_loss(encoder, method) < before - 0.02


@pytest.mark.parametrize("method", ["masked_lm", "contrastive"])
@pytest.mark.parametrize(
    "tuning",
    [
        LORA,
        Full(),
        TopLayers(layers=1),
        AdaLora(layers=1),
        IA3(layers=1),
        Prefix(tokens=2),
        PromptTuning(tokens=2),
        PTuning(tokens=2, hidden=8),
        Bottleneck(width=4, layers=1),
    ],
    ids=lambda tuning: tuning.method,
)
def test_whatever_the_tuning_trains_moves_and_no_other_weight(masked_folder, method, tuning):
    encoder = started(masked_folder, tuning)
    trained = {id(p) for p in encoder.trained_parameters()}
    before = [(p, p.detach().clone()) for p in encoder.network.parameters()]
    state = encoder.trained_state()
    run(encoder, method, epochs=1, num=16)
    assert all(torch.equal(p, was) for p, was in before if id(p) not in trained)
    after = encoder.trained_state()
    assert any(not torch.equal(after[name], state[name]) for name in state)
    assert not encoder.network.training
    # What it learned is an adapter like any other.
    again = Encoder(encoder.base)
    again.set_adapter(after, tuning)
    own = texts(4, seed=2)
    encoder.set_adapter(after, tuning)
    np.testing.assert_array_equal(again.encode(own), encoder.encode(own))


@pytest.mark.parametrize("method", ["masked_lm", "contrastive"])
def test_a_seed_gives_the_same_adapter_and_another_seed_another(masked_folder, method):
    states = []
    for seed in (3, 3, 4):
        encoder = started(masked_folder)
        run(encoder, method, epochs=1, seed=seed)
        states.append(encoder.trained_state())
    first, second, other = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in other)


def test_the_contrastive_loss_is_cross_entropy_over_cosines(masked_folder):
    encoder = Encoder(load_base(str(masked_folder), device="cpu", precision="fp32"))
    own = texts(5, seed=2)
    loss = ContrastiveLoss(encoder)(encoder.tokenize(own)).item()
    # Without dropout both passes are one, so the cosines are those of the vectors with each other.
    vectors = encoder.encode(own).astype(np.float64)
    shares = np.exp(vectors @ vectors.T / 0.05)
    assert loss == pytest.approx(-np.log(np.diag(shares) / shares.sum(1)).mean(), rel=1e-3)


def test_the_masked_loss_is_that_of_the_whole_model_at_the_masked_tokens(masked_folder):
    from transformers import AutoModelForMaskedLM

    encoder = Encoder(load_base(str(masked_folder), device="cpu", precision="fp32"))
    tokens = encoder.tokenize(texts(6, seed=2))
    loss = MaskedLoss(encoder, np.random.default_rng(1))(tokens).item()
    ids = torch.tensor(tokens)
    masked, chosen = MaskedLoss(encoder, np.random.default_rng(1)).mask(ids)
    model = AutoModelForMaskedLM.from_pretrained(masked_folder).eval()
    with torch.no_grad():
        logits = model(input_ids=masked).logits
    expected = torch.nn.functional.cross_entropy(logits[chosen], ids[chosen]).item()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_about_the_share_of_tokens_is_masked_never_a_special_one_and_one_in_every_text(
    masked_folder,
):
    encoder = Encoder(load_base(str(masked_folder), device="cpu", precision="fp32"))
    loss = MaskedLoss(encoder, np.random.default_rng(1))
    tokenizer = encoder.base.tokenizer
    words = tokenizer.convert_tokens_to_ids(["goal", "bank"])
    ids = torch.tensor([[2, *(words * 30), 3, 0]] * 200)
    masked, chosen = loss.mask(ids)
    assert not chosen[:, [0, -2, -1]].any()
    assert chosen.any(1).all()
    assert chosen[:, 1:-2].float().mean() == pytest.approx(MASKED_SHARE, abs=0.01)
    assert torch.equal(masked[~chosen], ids[~chosen])
    kinds = masked[chosen]
    assert (kinds == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=0.03)
    # One in ten stays, and of the one in ten that becomes any token, some are what was there.
    assert (kinds == ids[chosen]).float().mean() == pytest.approx(0.1, abs=0.03)
    assert loss.mask(torch.tensor([[2, words[0], 3]]))[1].tolist() == [[False, True, False]]


def test_a_checkpoint_without_the_head_is_refused_and_contrastive_named(base_folder):
    with pytest.raises(ModelError, match=r"no masked-LM head.*contrastive"):
        run(started(base_folder), "masked_lm")


def test_a_network_without_dropout_has_nothing_to_contrast(base_folder):
    encoder = started(base_folder)
    for module in encoder.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with pytest.raises(ModelError, match=r"no dropout.*masked_lm"):
        run(encoder, "contrastive")


def test_a_tuning_that_trains_nothing_is_refused_and_no_texts_or_no_method_train_nothing(
    base_folder,
):
    with pytest.raises(ModelError, match=r"tuning\.method"):
        run(started(base_folder, HeadOnly()), "contrastive")
    assert run(started(base_folder), "contrastive", num=1) == []
    assert run(started(base_folder), "none") == []


def hours(**shown: float) -> pa.Table:
    """Each item is shown in the hour that starts so many hours after noon."""
    at = pa.array([NOON + timedelta(hours=each) for each in shown.values()], UTC_TIME)
    return pa.table(
        {
            "event_date": at.cast(pa.date32()),
            "hour": at,
            "item_id": list(shown),
            "impressions": [1] * len(at),
            "clicks": [0] * len(at),
        }
    ).cast(ITEM_HOURS)


def test_texts_are_those_of_the_newest_items_known_at_the_time():
    items = pa.table(
        {
            "item_id": ["old", "shown", "running", "later", "public", "unheard", "twin", "blank"],
            "title": ["old", "shown", "running", "later", "public", "unheard", "old", " "],
            "published_at": pa.array(
                [
                    None if hours is None else NOON + timedelta(hours=hours)
                    for hours in (-99, None, None, 2, -1, None, -90, None)
                ],
                UTC_TIME,
            ),
        }
    )
    counts = hours(old=-3, shown=-2, running=-0.5, later=1, blank=-1)
    # `running` was shown in an hour that is not over, `later` is of the future, of `unheard` nothing
    # says when; a text that two items share is read once, at the newer one's place.
    found = known_texts(items, counts, as_of=NOON, limit=9)
    assert found == ["public", "shown", "old"]
    assert known_texts(items, counts, as_of=NOON, limit=1) == ["public"]
    later = known_texts(items, counts, as_of=NOON + timedelta(hours=3), limit=9)
    assert later[:3] == ["later", "running", "public"]


def test_a_catalogue_without_publication_times_is_known_by_what_was_shown():
    items = pa.table({"item_id": ["a", "b"], "title": ["A", "B"]})
    assert known_texts(items, hours(b=-4), as_of=NOON, limit=9) == ["B"]
