import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from tasks.recommender.learning.penalties import EWC, L2SP, diagonal_fisher


def named(*values: list[float]) -> dict[str, torch.nn.Parameter]:
    return {f"p{k}": torch.nn.Parameter(torch.tensor(v)) for k, v in enumerate(values)}


def test_l2_sp_goes_back_a_share_of_rate_times_decay():
    parameters = named([1.0, 2.0])
    start = L2SP(parameters, 0.5)
    with torch.no_grad():
        parameters["p0"].add_(4.0)
    start.pull(0.1)
    # 5 − 0.1 · 0.5 · (5 − 1) = 4.8, and so for the other.
    torch.testing.assert_close(parameters["p0"].data, torch.tensor([4.8, 5.8]))


def test_l2_sp_without_weight_leaves_every_bit():
    parameters = named([1.0, 2.0])
    start = L2SP(parameters, 0.0)
    with torch.no_grad():
        parameters["p0"].add_(4.0)
    start.pull(0.1)
    assert parameters["p0"].tolist() == [5.0, 6.0]


def test_ewc_is_the_quadratic_form_with_its_gradient():
    parameters = named([1.0, 2.0], [3.0])
    fisher = {"p0": torch.tensor([0.5, 4.0]), "p1": torch.tensor([10.0])}
    ewc = EWC(parameters, 3.0, fisher)
    assert ewc.penalty().item() == 0
    with torch.no_grad():
        parameters["p0"].add_(torch.tensor([1.0, -2.0]))
        parameters["p1"].add_(0.1)
    # 3/2 · (0.5 · 1² + 4 · 2² + 10 · 0.1²) = 24.9; gradient λ F (θ − θ*).
    loss = ewc.penalty()
    loss.backward()
    assert loss.item() == pytest.approx(24.9)
    torch.testing.assert_close(parameters["p0"].grad, torch.tensor([1.5, -24.0]))
    torch.testing.assert_close(parameters["p1"].grad, torch.tensor([3.0]))


def test_the_fisher_information_is_that_of_a_logistic_model():
    # log-likelihood of a click at z = w·x: gradient (1 − σ(z)) x. At w = 0: x/2, squared x²/4.
    parameters = named([0.0, 0.0], [7.0])
    inputs = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0])]

    def backward_of(x):
        return lambda: logsigmoid(parameters["p0"] @ x).backward()

    parameters["p0"].grad = torch.ones(2)
    fisher = diagonal_fisher(parameters, map(backward_of, inputs))
    np.testing.assert_allclose(fisher["p0"], [(1 + 9) / 4 / 2, 4 / 4 / 2])
    assert fisher["p1"].tolist() == [0.0]
    assert parameters["p0"].grad is None
