import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender.recipe import (
    IA3,
    AdaLora,
    Bottleneck,
    Full,
    HeadOnly,
    Lora,
    Prefix,
    PromptTuning,
    TopLayers,
)
from tasks.recommender.tuning.attach import attach
from tests.unit.recommender.tuning.networks import (
    ALL,
    EXACT,
    NEAR,
    TRAINING,
    batch,
    make,
    method,
    output,
    real,
    train,
)

NETWORKS = ["BertModel", "RobertaForSequenceClassification", "BertForMaskedLM", "LlamaForCausalLM"]


def parameters(network) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tuning", [HeadOnly(), *EXACT], ids=method)
def test_a_method_starts_as_the_unchanged_network_bit_for_bit(name, tuning):
    network = make(name)
    plain = output(network, *batch())
    attach(network, tuning, seed=1)
    assert torch.equal(output(network, *batch()), plain)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_training_moves_all_that_is_trained_nothing_else_and_leaves_no_trace(name, tuning):
    network = make(name)
    before, plain = parameters(network), output(network, *batch())
    attached = attach(network, tuning, seed=1)
    start = attached.state()
    train(network, attached)
    trained = {id(parameter) for parameter in attached.parameters()}
    for name_now, parameter in network.named_parameters():
        if id(parameter) not in trained and ".ranknum." not in name_now:
            assert torch.equal(parameter, before[published(name_now)]), name_now
    still = [n for n, t in attached.state().items() if torch.equal(t, start[n])]
    # No hidden state depends on the pooler, AdaLoRA may prune all of a matrix's Λ back to 0, and
    # what P-tuning starts from is no weight.
    assert all(n.startswith("pooler.") or n.endswith(("lora_E", ".start")) for n in still), still
    assert len(still) < len(start)
    assert not torch.equal(output(network, *batch()), plain)
    attached.detach()
    assert torch.equal(output(network, *batch()), plain)
    after = parameters(network)
    assert list(after) == list(before)
    assert all(torch.equal(after[n], before[n]) for n in before)
    assert not any(p.requires_grad for p in network.parameters())


def published(name: str) -> str:
    """The name that a weight had before peft wrapped its module."""
    return name.replace(".base_layer.", ".")


@pytest.mark.parametrize("tuning", ALL, ids=method)
def test_a_state_gives_the_same_outputs_on_a_fresh_network(tuning):
    network = make("BertModel")
    attached = attach(network, tuning, seed=1)
    if attached.parameters():
        train(network, attached)
    state = attached.state()
    assert {t.dtype for t in state.values()} <= {torch.float32}
    again = make("BertModel")
    fresh = attach(again, tuning, seed=2)
    fresh.fill(state)
    assert torch.equal(output(again, *batch()), output(network, *batch()))
    # A copy: training on does not reach it.
    with torch.no_grad():
        for parameter in attached.parameters():
            parameter.add_(1)
    assert all(torch.equal(fresh.state()[name], state[name]) for name in state)


@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_weights_are_trained_in_fp32_on_a_bf16_network(tuning):
    network = make("BertForSequenceClassification").bfloat16()
    plain = output(network, *batch())
    attached = attach(network, tuning, seed=1)
    # What computes in fp32 now rounds less; the rest starts bit for bit the same.
    exact = tuning in EXACT and not isinstance(tuning, Full | TopLayers)
    gap = 0 if exact else 0.15 if tuning in EXACT else 10
    assert (output(network, *batch()) - plain).abs().max() <= gap
    train(network, attached)
    assert {p.dtype for p in attached.parameters()} == {torch.float32}
    assert bool(torch.isfinite(output(network, *batch())).all())
    attached.detach()
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert torch.equal(output(network, *batch()), plain)


@pytest.mark.parametrize("name", ["BertModel", "LlamaForCausalLM"])
@pytest.mark.parametrize("tuning", NEAR, ids=method)
def test_padding_changes_nothing_under_a_prefix_or_a_prompt(name, tuning):
    network = make(name)
    attached = attach(network, tuning, seed=1)
    train(network, attached)
    ids, mask = batch()
    together = output(network, ids, mask)
    alone = output(network, ids[1:2, :4], mask[1:2, :4])
    unmasked = output(network, ids[1:2, :4])
    torch.testing.assert_close(together[1:2, :4], alone)
    torch.testing.assert_close(unmasked, alone)


@pytest.mark.parametrize("tuning", NEAR, ids=method)
def test_a_later_token_does_not_reach_back_in_a_causal_network(tuning):
    network = make("LlamaForCausalLM")
    train(network, attach(network, tuning, seed=1))
    ids, _ = batch()
    other = ids[:1].clone()
    other[0, 4:] = 5
    torch.testing.assert_close(output(network, other)[:, :4], output(network, ids[:1])[:, :4])
    assert not torch.allclose(output(network, other)[:, 4:], output(network, ids[:1])[:, 4:])


def test_a_new_classifier_is_trained_and_stored_besides():
    network = make("BertForSequenceClassification").bfloat16()
    frozen = network.classifier.weight.clone()
    attached = attach(network, Lora(rank=2), seed=1, heads=["classifier"])
    assert output(network, *batch()).dtype == torch.float32
    train(network, attached)
    assert not torch.equal(attached.state()["classifier.weight"], frozen.float())
    assert len(attached.parameters()) == 8 + 2
    attached.detach()
    assert torch.equal(network.classifier.weight, frozen)


def test_only_what_could_learn_before_can_learn_again():
    network = make("BertModel")
    network.embeddings.word_embeddings.weight.requires_grad_()
    attach(network, Lora(rank=2), seed=1).detach()
    learned = [name for name, p in network.named_parameters() if p.requires_grad]
    assert learned == ["embeddings.word_embeddings.weight"]


@pytest.mark.parametrize(
    ("tuning", "lowest"),
    [(HeadOnly(), 3), (Lora(layers=2), 1), (IA3(layers=9), 0), (Prefix(), 0), (Full(), None)],
    ids=["head", "lora", "ia3", "prefix", "full"],
)
def test_the_lowest_layer_that_differs_is_told(tuning, lowest):
    assert attach(make("BertModel"), tuning, seed=1).lowest == lowest


def test_layers_below_the_top_are_untouched():
    network = make("BertModel")
    attached = attach(network, Bottleneck(width=4, layers=1), seed=1)
    assert {name.split(".")[1] for name in attached.state()} == {"2"}


@pytest.mark.parametrize(
    ("name", "tuning", "message"),
    [
        ("GPT2LMHeadModel", Lora(), "gpt2 has no separate query, key and value projections"),
        ("GPT2LMHeadModel", IA3(), "gpt2 has no separate query"),
        ("DistilBertModel", Prefix(), "distilbert has no attention that joins its keys"),
        ("MPNetModel", PromptTuning(), "mpnet has no layers that take a plain attention mask"),
        ("AlbertModel", TopLayers(), "albert has no list of layers"),
        ("BertModel", PromptTuning(tokens=17), "17 tokens is longer than the 16 positions"),
        ("BertModel", AdaLora(start_rank=4, rank=4), "4 is not above 4"),
    ],
    ids=lambda value: getattr(value, "method", None),
)
def test_a_network_without_a_place_for_the_method_says_so_and_is_as_before(name, tuning, message):
    network = make(name)
    plain = output(network, *batch())
    with pytest.raises(ModelError, match=message):
        attach(network, tuning, seed=1)
    assert torch.equal(output(network, *batch()), plain)


def test_a_state_that_does_not_fit_changes_nothing_and_is_named():
    attached = attach(make("BertModel"), Lora(rank=2), seed=1)
    state = attached.state()
    name = next(iter(state))
    wrong = {
        "it has no stranger": {**state, "stranger": torch.zeros(1)},
        "is not in it": {n: t for n, t in state.items() if n != name},
        r"is \(3,\), and the network needs \(2, 16\)": {**state, name: torch.zeros(3)},
    }
    for message, broken in wrong.items():
        with pytest.raises(ModelError, match=message):
            attached.fill(broken)
    assert all(torch.equal(attached.state()[n], state[n]) for n in state)


@pytest.mark.parametrize(
    "tuning", [Lora(rank=2), Prefix(tokens=2), Bottleneck(width=2)], ids=method
)
def test_the_seed_alone_draws_what_starts_at_random(tuning):
    states = [attach(make("BertModel"), tuning, seed=seed).state() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert any(not torch.equal(states[0][n], states[2][n]) for n in states[0])


def test_lora_drops_only_while_it_is_told_to():
    network = make("BertModel")
    attached = attach(network, Lora(rank=2, dropout=0.5), seed=1)
    train(network, attached)
    still = output(network, *batch())
    assert torch.equal(output(network, *batch()), still)
    attached.drop(on=True)
    assert not torch.equal(output(network, *batch()), still)
    attached.drop(on=False)
    assert torch.equal(output(network, *batch()), still)


def test_real_leaves_padding_out():
    ids, mask = batch()
    assert real(torch.zeros(3, 7, 2), mask).shape == (12, 2)
    assert int(ids[2, 1:].sum()) == 0
