import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.recommender.recipe import AdaLora, Bottleneck, Lora
from tasks.recommender.tuning.attach import attach
from tasks.recommender.tuning.merge import merge
from tests.unit.recommender.tuning.networks import TRAINING, batch, make, method, output, train

shares = st.floats(0, 1)
seeds = st.integers(0, 2**16)
NAMES = {"A": "q.lora_A.weight", "B": "q.lora_B.weight"}
ADA = {"A": "q.lora_A", "B": "q.lora_B", "E": "q.lora_E"}


def factors(names: dict[str, str], seed: int, rank: int, width: int = 12) -> dict:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"A": (rank, width), "B": (width + 3, rank), "E": (rank, 1)}
    return {name: torch.randn(shapes[key], generator=draw) for key, name in names.items()}


def product(names: dict[str, str], state: dict) -> torch.Tensor:
    left = state[names["B"]]
    if "E" in names:
        left = left * state[names["E"]].T
    return left @ state[names["A"]]


@given(seeds, shares, st.sampled_from([NAMES, ADA]))
def test_a_merged_product_is_the_mean_of_both_cut_to_the_closest_of_its_rank(seed, share, names):
    tuning = Lora(rank=3) if names is NAMES else AdaLora(start_rank=3, rank=3)
    long, short = factors(names, seed, 3), factors(names, seed + 1, 3)
    merged = merge(tuning, long, short, share)
    assert {n: t.shape for n, t in merged.items()} == {n: t.shape for n, t in long.items()}
    whole = share * product(names, long) + (1 - share) * product(names, short)
    u, singular, v = torch.linalg.svd(whole.double(), full_matrices=False)
    closest = (u[:, :3] * singular[:3]) @ v[:3]
    torch.testing.assert_close(product(names, merged).double(), closest, atol=1e-4, rtol=1e-4)


@given(seeds, shares)
def test_products_that_share_their_columns_merge_exactly(seed, share):
    long, short = factors(NAMES, seed, 3), factors(NAMES, seed + 1, 3)
    short[NAMES["B"]] = long[NAMES["B"]]
    merged = merge(Lora(rank=3), long, short, share)
    whole = share * product(NAMES, long) + (1 - share) * product(NAMES, short)
    torch.testing.assert_close(product(NAMES, merged), whole, atol=1e-4, rtol=1e-4)


def test_averaged_factors_would_not_do():
    long = factors(NAMES, 1, 3)
    flipped = {name: -tensor for name, tensor in long.items()}  # the same product
    merged = merge(Lora(rank=3), long, flipped, 0.5)
    torch.testing.assert_close(product(NAMES, merged), product(NAMES, long), atol=1e-4, rtol=1e-4)


def test_a_merged_adalora_keeps_the_largest_within_its_budget_and_is_orthonormal():
    long, short = (
        factors(ADA, seed, 6) | {"k" + n[1:]: 9 * t for n, t in factors(ADA, seed + 2, 6).items()}
        for seed in (1, 2)
    )
    merged = merge(AdaLora(start_rank=6, rank=2), long, short, 0.5)
    # 2 a matrix on average, and all where they are largest.
    assert int(merged["k.lora_E"].count_nonzero()) == 4
    assert int(merged["q.lora_E"].count_nonzero()) == 0
    for rows in (merged["q.lora_A"], merged["q.lora_B"].T):
        torch.testing.assert_close(rows @ rows.T, torch.eye(6), atol=1e-5, rtol=0)


def test_a_rank_above_a_matrixs_width_is_merged_too():
    long, short = factors(NAMES, 1, 20), factors(NAMES, 2, 20)
    merged = merge(Lora(rank=20), long, short, 0.25)
    whole = 0.25 * product(NAMES, long) + 0.75 * product(NAMES, short)
    assert merged[NAMES["A"]].shape == (20, 12)
    torch.testing.assert_close(product(NAMES, merged), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tuning", TRAINING, ids=method)
def test_at_the_ends_a_merger_is_one_of_the_two_and_fits_the_network(tuning):
    network = make("BertModel")
    attached = attach(network, tuning, seed=1)
    train(network, attached)
    long, plain = attached.state(), output(network, *batch())
    train(network, attached)
    short, moved = attached.state(), output(network, *batch())
    tolerance = {"atol": 2e-3, "rtol": 1e-3}
    for share, expected in ((1.0, plain), (0.0, moved)):
        attached.fill(merge(tuning, long, short, share))
        torch.testing.assert_close(output(network, *batch()), expected, **tolerance)


@given(shares)
def test_other_methods_average_parameters(share):
    merged = merge(Bottleneck(), {"w": torch.tensor([4.0])}, {"w": torch.tensor([2.0])}, share)
    assert merged["w"].item() == pytest.approx(2 + 2 * share)


def test_adapters_of_different_shapes_do_not_merge():
    with pytest.raises(ModelError, match="differ in shape"):
        merge(Lora(), factors(NAMES, 1, 3), factors(NAMES, 1, 4), 0.5)
    with pytest.raises(ModelError, match=r"share is 1\.5"):
        merge(Lora(), factors(NAMES, 1, 3), factors(NAMES, 1, 3), 1.5)
