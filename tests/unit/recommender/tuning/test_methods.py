import pytest
import torch

from tasks.recommender.recipe import (
    IA3,
    AdaLora,
    Bottleneck,
    Lora,
    Prefix,
    PromptTuning,
    PTuning,
    TopLayers,
)
from tasks.recommender.tuning.attach import attach
from tasks.recommender.tuning.masks import lengthen, see_before
from tests.unit.recommender.tuning.networks import LONGEST, batch, make, output, train


def disturb(attached) -> dict[str, torch.Tensor]:
    """Move all that is trained from where it started; returns the state."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in attached.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return attached.state()


def hidden(network, *given) -> list[torch.Tensor]:
    """What each layer gives, the embeddings first."""
    return list(network(*given, output_hidden_states=True).hidden_states)


def test_lora_adds_the_scaled_product_to_query_and_value():
    network = make("BertModel")
    attached = attach(network, Lora(rank=2, alpha=8, layers=1), seed=1)
    state = disturb(attached)
    found = output(network, *batch())
    attached.detach()
    attention = network.encoder.layer[2].attention.self
    for name in ("query", "value"):
        prefix = f"base_model.model.encoder.layer.2.attention.self.{name}."
        a, b = state[f"{prefix}lora_A.weight"], state[f"{prefix}lora_B.weight"]
        with torch.no_grad():
            getattr(attention, name).weight.add_(8 / 2 * b @ a)
    torch.testing.assert_close(found, output(network, *batch()))


def test_ia3_scales_keys_values_and_what_the_last_projection_reads():
    network = make("BertModel")
    attached = attach(network, IA3(layers=1), seed=1)
    state = disturb(attached)
    found = output(network, *batch())
    attached.detach()
    layer = network.encoder.layer[2]
    factors = {name.split("layer.2.")[1].split(".ia3_l")[0]: t for name, t in state.items()}
    assert set(factors) == {"attention.self.key", "attention.self.value", "output.dense"}
    with torch.no_grad():
        for name in ("key", "value"):
            projection = getattr(layer.attention.self, name)
            factor = factors[f"attention.self.{name}"].flatten()
            projection.weight.mul_(factor[:, None])
            projection.bias.mul_(factor)
        layer.output.dense.weight.mul_(factors["output.dense"])
    torch.testing.assert_close(found, output(network, *batch()))


def test_a_bottleneck_adds_its_two_projections_to_both_sub_blocks():
    network = make("BertModel")
    attached = attach(network, Bottleneck(width=4, layers=1), seed=1)
    state = disturb(attached)
    found = output(network, *batch())
    attached.detach()
    layer, tensors = network.encoder.layer[2], state

    def adapted(place: str, y: torch.Tensor) -> torch.Tensor:
        d, u = (f"layer.2.{place}.{number}." for number in (0, 2))
        inner = y @ tensors[d + "weight"].T + tensors[d + "bias"]
        inner = torch.nn.functional.gelu(inner)
        return y + inner @ tensors[u + "weight"].T + tensors[u + "bias"]

    ids, mask = batch()
    before = hidden(network, ids, mask)[2]
    additive = (1 - mask[:, None, None, :]).float() * torch.finfo(torch.float32).min
    attended = layer.attention.output.dense(layer.attention.self(before, additive)[0])
    attended = layer.attention.output.LayerNorm(adapted("attention", attended) + before)
    inner = layer.output.dense(layer.intermediate(attended))
    last = layer.output.LayerNorm(adapted("feed_forward", inner) + attended)
    torch.testing.assert_close(found, last)


@pytest.mark.parametrize("name", ["BertModel", "LlamaModel"])
def test_a_prefix_is_attended_to_besides_the_texts_own_keys_and_values(name):
    """By hand: one layer's attention, from its own projections and the learned keys and values."""
    network = make(name, num_hidden_layers=1, attn_implementation="eager")
    ids, _ = batch()
    ids = ids[:1]
    attached = attach(network, Prefix(tokens=2), seed=1)
    state = disturb(attached)
    layer = network.encoder.layer[0] if name == "BertModel" else network.layers[0]
    attention = layer.attention.self if name == "BertModel" else layer.self_attn
    seen: list[torch.Tensor] = []
    hook = attention.register_forward_hook(lambda _, __, given: seen.append(given[1]))
    output(network, ids)
    hook.remove()
    weights = seen[0]
    assert weights.shape == (1, 2, 7, 9)
    text = weights[..., 2:]
    attached.detach()
    plain: list[torch.Tensor] = []
    hook = attention.register_forward_hook(lambda _, __, given: plain.append(given[1]))
    output(network, ids)
    hook.remove()
    # Seeing the prefix takes a share; the rest is spread over the text as it was without.
    torch.testing.assert_close(text / text.sum(-1, keepdim=True), plain[0])
    if name == "BertModel":
        query = attention.query(network.embeddings(ids)).view(1, 7, 2, 8).transpose(1, 2)
        keys = attention.key(network.embeddings(ids)).view(1, 7, 2, 8).transpose(1, 2)
        keys = torch.cat([state["layer.0.keys"][None], keys], 2)
        expected = (query @ keys.transpose(2, 3) / 8**0.5).softmax(-1)
        torch.testing.assert_close(weights, expected)


def test_a_prefix_starts_by_shortening_what_attention_gives():
    state = attach(make("BertModel"), Prefix(tokens=3), seed=1).state()
    assert len(state) == 6
    for name, tensor in state.items():
        assert tensor.shape == (2, 3, 8)
        assert bool(tensor.any()) == name.endswith("keys")
        assert tensor.abs().max() < 0.1


@pytest.mark.parametrize("tuning", [PromptTuning(tokens=3), PTuning(tokens=3, hidden=4)])
def test_a_prompt_stands_before_the_text_in_every_layer_and_leaves_after_the_last(tuning):
    network = make("BertModel")
    attached = attach(network, tuning, seed=1, start_tokens=[7, 8])
    state = disturb(attached)
    ids, mask = batch()
    found = output(network, ids, mask)
    assert found.shape == (3, 7, 16)
    attached.detach()
    vectors = state.get("prompt.vectors")
    if vectors is None:
        inner = state["prompt.inputs"] @ state["prompt.inner.weight"].T + state["prompt.inner.bias"]
        vectors = torch.tanh(inner) @ state["prompt.outer.weight"].T + state["prompt.outer.bias"]
        vectors = vectors + state["prompt.start"]
    states = torch.cat([vectors.expand(3, -1, -1), network.embeddings(ids)], 1)
    longer = torch.cat([torch.ones(3, 3), mask], 1)
    additive = (1 - longer[:, None, None, :]) * torch.finfo(torch.float32).min
    for layer in network.encoder.layer:
        states = layer(states, additive)
    torch.testing.assert_close(found[mask.bool()], states[:, 3:][mask.bool()])


def test_a_prompt_starts_as_the_embeddings_of_the_named_tokens_in_turn():
    network = make("RobertaModel")
    for tuning, name in ((PromptTuning(tokens=3), "vectors"), (PTuning(tokens=3), "start")):
        attached = attach(network, tuning, seed=1, start_tokens=[7, 8])
        start = attached.state()[f"prompt.{name}"]
        attached.detach()
        torch.testing.assert_close(start, network.embeddings(torch.tensor([[7, 8, 7]]))[0])


def test_a_prompt_of_p_tuning_starts_as_prompt_tuning_does():
    network = make("BertModel")
    found = []
    for tuning in (PromptTuning(tokens=3), PTuning(tokens=3)):
        attached = attach(network, tuning, seed=1, start_tokens=[7, 8])
        found.append(output(network, *batch()))
        attached.detach()
    assert torch.equal(*found)


@pytest.mark.parametrize("tuning", [PromptTuning(tokens=8), Prefix(tokens=8)])
@pytest.mark.parametrize("name", ["BertModel", "RobertaModel", "LlamaModel"])
def test_a_text_as_long_as_the_network_reads_is_read_with_a_prompt_or_prefix(name, tuning):
    network = make(name, max_position_embeddings=LONGEST + 1)  # RoBERTa's positions start at 1
    attach(network, tuning, seed=1)
    assert output(network, torch.full((1, LONGEST), 7)).shape == (1, LONGEST, 16)


def test_a_pooler_still_reads_the_texts_first_token():
    network = make("BertModel")
    attach(network, PromptTuning(tokens=3), seed=1)
    ids, mask = batch()
    found = network(ids, mask)
    first = network.pooler.activation(network.pooler.dense(found.last_hidden_state[:, 0]))
    torch.testing.assert_close(found.pooler_output, first)


def test_top_layers_train_whole_layers_and_nothing_else():
    network = make("BertModel")
    attached = attach(network, TopLayers(layers=1), seed=1)
    names = {name for name, _ in network.named_parameters() if name.startswith("encoder.layer.2.")}
    assert set(attached.state()) == names


def test_adalora_prunes_to_its_budget_and_keeps_it():
    network = make("BertModel")
    tuning = AdaLora(start_rank=6, rank=2, layers=2)
    attached = attach(network, tuning, seed=1)
    train(network, attached, steps=2)  # too short a run to tell ranks apart
    assert ranks(attached) == [6] * 4
    attached.detach()
    attached = attach(network, tuning, seed=1)
    seen = [sum(run_to(network, attached, end)) for end in (1, 3, 8, 12)]
    # Of 24 to 8, cubic between step 1 and step 8: 8 + 16 (1 - 2/7)³ = 13.8 at step 3. A tie at the
    # threshold may take one more.
    assert seen[0] == 24
    assert 8 < seen[1] <= 13
    assert 0 < seen[2] <= 8
    assert seen[3] == seen[2]


def run_to(network, attached, end: int, steps: int = 12) -> list[int]:
    """Train from where the run is to step `end` of `steps`; returns the ranks left."""
    done = getattr(attached, "done", 0)  # where an earlier call stopped
    ids, mask = batch()
    optimizer = torch.optim.AdamW(attached.parameters(), lr=0.05)
    for step in range(done + 1, end + 1):
        (output(network, ids, mask).square().mean() + attached.penalty()).backward()
        optimizer.step()
        attached.after_step(step, steps)
        optimizer.zero_grad()
    attached.done = end
    return ranks(attached)


def ranks(attached) -> list[int]:
    return [int(t.count_nonzero()) for n, t in attached.state().items() if n.endswith("lora_E")]


def test_adaloras_penalty_is_0_where_p_and_q_are_orthonormal_and_grows_from_there():
    attached = attach(make("BertModel"), AdaLora(start_rank=4, rank=2, layers=1), seed=1)
    penalty = attached.penalty()
    assert penalty.item() == pytest.approx(0, abs=1e-6)
    first = next(p for n, p in attached.state().items() if n.endswith("lora_A"))
    with torch.no_grad():
        attached.parameters()[0].mul_(2)  # a P or Q, as its 4 rows are matrices: M Mᵀ = 4
    assert first.shape == (4, 16)
    # One of 4 matrices: 0.1 · (3² · 4) / 4.
    assert attached.penalty().item() == pytest.approx(0.9, rel=1e-4)
    attached.penalty().backward()
    assert bool(attached.parameters()[0].grad.any())


def test_masks_let_everything_see_what_comes_before_the_text():
    additive = torch.tensor([[[[0.0, -9.0]]]])
    assert see_before(additive, 2).tolist() == [[[[0.0, 0.0, 0.0, -9.0]]]]
    assert lengthen(additive, 1).tolist() == [[[[0.0, 0.0, -9.0]]]]
    causal = torch.tensor([[[[True, False], [True, True]]]])
    assert lengthen(causal, 1).tolist() == [
        [[[True, True, False], [True, True, False], [True, True, True]]]
    ]
