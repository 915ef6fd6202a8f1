import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.errors import ModelError
from tasks.recommender.base import Base, load_base
from tasks.recommender.encoder import Encoder, carried, length_batches
from tasks.recommender.hybrid import HybridRanker, new_head
from tasks.recommender.learning.optimizer import Optimizer
from tasks.recommender.recipe import (
    AdaLora,
    Bottleneck,
    Full,
    HeadOnly,
    Lora,
    Optimization,
    TopLayers,
)
from tasks.recommender.store import load_ranker, save_ranker
from tasks.recommender.tower import Noise, Tower, push_back
from tests.unit.recommender.tuning.networks import TRAINING, method

TEXTS = ["goal match", "bank", "soup bread recipe oven", "team coach league goal match salt"]
ROWS = np.arange(len(TEXTS))


@pytest.fixture
def base(base_folder: Path) -> Base:
    return load_base(str(base_folder), device="cpu", precision="fp32")


def trained(base: Base, tuning, steps: int = 3) -> Encoder:
    """An encoder after some steps of GradCache towards random directions."""
    encoder = Encoder(base)
    encoder.start_training(tuning, None, seed=1)
    tower = Tower(encoder, TEXTS)
    gradient = torch.randn(len(TEXTS), 32, generator=torch.Generator().manual_seed(2))
    optimizer = Optimizer(
        [{"params": encoder.trained_parameters(), "lr": 0.05}],
        Optimization(),
        steps,
        after_move=encoder.after_step,
    )
    for _ in range(steps):
        push_back(tower, ROWS, gradient)
        penalty = encoder.penalty()
        if penalty is not None:
            penalty.backward()
        optimizer.step(torch.zeros(()))
    return encoder


@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_a_tower_embeds_as_its_trained_encoder_encodes(base, tuning):
    encoder = trained(base, tuning)
    found = Tower(encoder, TEXTS).embed_all(ROWS).numpy()
    np.testing.assert_allclose(found, encoder.encode(TEXTS), atol=1e-5)
    assert not np.allclose(found, Encoder(base).encode(TEXTS), atol=1e-2)


@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_a_trained_adapter_encodes_the_same_in_a_fresh_encoder_and_from_disk(
    base, tuning, tmp_path
):
    encoder = trained(base, tuning)
    vectors = encoder.encode(TEXTS)
    fresh = Encoder(base)
    fresh.set_adapter(encoder.trained_state(), tuning)
    np.testing.assert_array_equal(fresh.encode(TEXTS), vectors)
    assert fresh.trained_parameters() == []
    digest = save_ranker(HybridRanker(fresh, new_head(seed=0)), tmp_path / "saved")
    loaded = load_ranker(tmp_path / "saved", device="cpu", precision="fp32")
    assert loaded.encoder.tuning == tuning
    assert loaded.digest == digest
    np.testing.assert_array_equal(loaded.encoder.encode(TEXTS), vectors)
    described = json.loads((tmp_path / "saved" / "ranker.json").read_text())["adapter"]
    assert described == asdict(tuning)


@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_without_its_adapter_an_encoder_is_the_base_again(base, tuning):
    plain = Encoder(base).encode(TEXTS)
    encoder = trained(base, tuning)
    encoder.set_adapter(encoder.trained_state(), tuning)
    assert encoder.digest != Encoder(base).digest
    encoder.set_adapter(None, HeadOnly())
    np.testing.assert_array_equal(encoder.encode(TEXTS), plain)
    assert encoder.digest == Encoder(base).digest


@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_training_goes_on_from_a_state(base, tuning):
    first = trained(base, tuning)
    second = Encoder(base)
    second.start_training(tuning, first.trained_state(), seed=9)
    np.testing.assert_array_equal(second.encode(TEXTS), first.encode(TEXTS))
    assert second.trained_parameters()


@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_the_gradient_pushed_back_is_that_of_the_whole_network(base, tuning, monkeypatch):
    """The tower starts midway and in batches; autograd through the network starts at the texts."""
    monkeypatch.setattr("tasks.recommender.encoder.TOKENS_A_BATCH", 10)
    encoder = trained(base, tuning)
    parameters = encoder.trained_parameters()
    tower = Tower(encoder, TEXTS)
    gradient = torch.randn(len(TEXTS), 32, generator=torch.Generator().manual_seed(3))
    push_back(tower, ROWS, gradient)
    pushed = [p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    tower._hidden = None  # the whole network, from token ids
    (tower.embed(ROWS) * gradient).sum().backward()
    assert any(g is not None and bool(g.any()) for g in pushed)
    for parameter, found in zip(parameters, pushed, strict=True):
        if parameter.grad is not None:
            torch.testing.assert_close(found, parameter.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("network", [False, True])
def test_a_second_pass_drops_what_the_first_one_did(base, network):
    """Both halves of GradCache have to see the same network, or the gradient is of neither."""
    encoder = Encoder(base)
    tuning = Lora(rank=4, dropout=0.0 if network else 0.5)
    encoder.start_training(tuning, None, seed=1)
    with torch.no_grad():
        for parameter in encoder.trained_parameters():
            parameter.add_(0.2)
    tower, noise = Tower(encoder, TEXTS), Noise(3, network=network)
    still = tower.embed_all(ROWS)
    vectors = tower.embed_all(ROWS, noise)
    assert not torch.allclose(vectors, still, atol=1e-3)
    with tower.dropping(noise):
        parts = tower.batches(ROWS)
        again = torch.cat([tower.embed(ROWS[part]) for part in parts])
    assert torch.equal(vectors[np.concatenate(parts)], again)
    assert not torch.equal(tower.embed_all(ROWS, replace(noise, seed=4)), vectors)
    assert torch.equal(tower.embed_all(ROWS), still)


def test_layers_below_the_lowest_trained_are_run_once(base, monkeypatch):
    encoder = Encoder(base)
    encoder.start_training(Bottleneck(width=4, layers=1), None, seed=1)
    tower, runs = Tower(encoder, TEXTS), []
    for number, layer in enumerate(encoder.network.encoder.layer):
        layer.register_forward_hook(lambda *_, number=number: runs.append(number))
    tower.embed(ROWS)
    assert runs == [1]


def test_a_scale_is_part_of_the_digest_for_it_decides_the_vectors(base):
    state = trained(base, Lora(rank=4, alpha=8)).trained_state()
    digests = set()
    for alpha in (8, 16):
        encoder = Encoder(base)
        encoder.set_adapter(state, Lora(rank=4, alpha=alpha))
        digests.add(encoder.digest)
    assert len(digests) == 2


def test_an_adapter_goes_on_only_under_its_own_knobs(base):
    start = Encoder(base)
    assert carried(start, Bottleneck()) is None
    state = trained(base, Lora(rank=4)).trained_state()
    start.set_adapter(state, Lora(rank=4))
    assert carried(start, Lora(rank=4, dropout=0.5)) is state
    for other in (Lora(rank=4, alpha=1), Bottleneck()):
        with pytest.raises(ModelError, match="training cannot go on"):
            carried(start, other)


def test_a_state_of_another_method_is_refused_by_the_bases_name(base):
    encoder = Encoder(base)
    with pytest.raises(ModelError, match=rf"{base.name}.*do not fit"):
        encoder.start_training(Bottleneck(), trained(base, Lora(rank=4)).trained_state(), seed=1)


def test_a_head_of_format_1_is_refused_with_what_to_do(base, tmp_path):
    folder = tmp_path / "saved"
    save_ranker(HybridRanker(Encoder(base), new_head(seed=0)), folder)
    config = json.loads((folder / "ranker.json").read_text())
    (folder / "ranker.json").write_text(json.dumps(config | {"format": 1}))
    with pytest.raises(ModelError, match=r"format 1 for a hybrid.*Retrain"):
        load_ranker(folder, device="cpu")


def test_a_head_with_other_weights_is_refused_with_what_to_do(base, tmp_path):
    ranker = HybridRanker(Encoder(base), new_head(seed=0))
    ranker.head.register_buffer("hidden", torch.zeros(16))
    save_ranker(ranker, tmp_path)
    with pytest.raises(ModelError, match=r"(?s)does not fit.*hidden.*Retrain"):
        load_ranker(tmp_path, device="cpu")


@pytest.mark.parametrize(
    "described",
    [{"method": "telepathy"}, {"method": "lora", "rank": 0}, {"method": "lora", "range": 3}, {}],
)
def test_a_tuning_of_another_version_is_refused(base, tmp_path, described):
    encoder = trained(base, Lora(rank=4))
    encoder.set_adapter(encoder.trained_state(), encoder.tuning)
    folder = tmp_path / "saved"
    save_ranker(HybridRanker(encoder, new_head(seed=0)), folder)
    config = json.loads((folder / "ranker.json").read_text())
    (folder / "ranker.json").write_text(json.dumps({**config, "adapter": described}))
    with pytest.raises(ModelError, match="does not fit this version's ranker"):
        load_ranker(folder, device="cpu")


@pytest.mark.parametrize("tuning", [Full(), TopLayers(), AdaLora(start_rank=6, rank=3)], ids=method)
def test_a_bf16_base_is_trained_in_fp32_and_stored_so(base_folder, tuning):
    base = load_base(str(base_folder), device="cpu", precision="bf16")
    encoder = trained(base, tuning)
    state = encoder.trained_state()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    # More than bf16's 8 bits are in use.
    assert any(not torch.equal(t.bfloat16().float(), t) for t in state.values())
    np.testing.assert_allclose(
        Tower(encoder, TEXTS).embed_all(ROWS).numpy(), encoder.encode(TEXTS), atol=2e-2
    )


def test_a_gpu_gets_larger_batches_than_the_processor():
    lengths = np.full(2000, 16)
    small, large = (length_batches(lengths, device) for device in ("cpu", "cuda"))
    assert [len(rows) for rows in small] == [64] * 31 + [16]
    assert [len(rows) for rows in large] == [1024, 976]
