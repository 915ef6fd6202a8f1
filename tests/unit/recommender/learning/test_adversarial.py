import pytest
import torch

from tasks.recommender.learning.adversarial import adversarial_loss, project
from tasks.recommender.recipe import Adversarial

WEIGHTS = torch.tensor([3.0, -4.0])  # of length 5
INPUTS = torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 1.0]])
USED = torch.tensor([1.0, 1.0, 0.0])
"""The third vector is padding: no score depends on it."""


def linear(inputs: torch.Tensor) -> torch.Tensor:
    return (USED * (inputs @ WEIGHTS)).sum()


def worst(epsilon: float) -> float:
    """Of a linear loss: every vector that counts goes ε‖x‖ along w/‖w‖, so the loss gains ε‖x‖‖w‖."""
    return linear(INPUTS).item() + epsilon * 5.0 * (2.0 + 0.5)


def loss_under(how: Adversarial, loss_of=linear, inputs=INPUTS) -> torch.Tensor:
    inputs = inputs.clone().requires_grad_()
    return adversarial_loss(loss_of, inputs, loss_of(inputs), how)


def test_fgm_finds_the_worst_perturbation_of_a_linear_loss():
    found = loss_under(Adversarial("fgm", epsilon=0.1))
    assert found.item() == pytest.approx(worst(0.1))


def test_pgd_stops_at_the_worst_perturbation_however_many_ascents_follow():
    far = loss_under(Adversarial("pgd", epsilon=0.1, step_size=0.05, steps=7))
    assert far.item() == pytest.approx(worst(0.1))
    near = loss_under(Adversarial("pgd", epsilon=0.1, step_size=0.04, steps=2))
    assert near.item() == pytest.approx(worst(0.08))


def test_freelb_gathers_the_gradients_of_every_ascent():
    weight = torch.nn.Parameter(WEIGHTS.clone())
    seen = []

    def loss_of(inputs):
        seen.append(inputs.detach().clone())
        return (USED * (inputs @ weight)).sum()

    inputs = INPUTS.clone().requires_grad_()
    clean = loss_of(inputs)
    loss = adversarial_loss(loss_of, inputs, clean, Adversarial("freelb", epsilon=0.1, steps=3))
    loss.backward()
    points = seen[1:]
    assert len(points) == 3
    # d loss / d w of a linear loss at point x is Σ x; gathered: the mean over the points on the way.
    mean = torch.stack([(USED[:, None] * x).sum(0) for x in points]).mean(0)
    torch.testing.assert_close(weight.grad, mean)
    losses = [(USED * (x @ WEIGHTS)).sum() for x in points]
    assert losses[0] < losses[1] < losses[2]
    assert loss.item() == pytest.approx(sum(losses).item() / 3)


@pytest.mark.parametrize("method", ["fgm", "pgd", "freelb"])
def test_no_vector_moves_further_than_epsilon_of_its_length_and_padding_not_at_all(method):
    seen = []

    def loss_of(inputs):
        seen.append(inputs.detach().clone())
        return (USED * (inputs**2).sum(1)).sum()

    torch.manual_seed(0)
    loss_under(Adversarial(method, epsilon=0.1, step_size=0.08, steps=4), loss_of)
    moved = torch.stack(seen) - INPUTS
    assert bool((moved.norm(dim=-1) <= 0.1 * INPUTS.norm(dim=-1) * 1.00001).all())
    assert float(moved[-1, :2].norm(dim=-1).min()) > 0
    if method != "freelb":  # which starts anywhere
        assert not bool(moved[:, 2].any())


@pytest.mark.parametrize("method", ["fgm", "pgd"])
def test_the_loss_of_a_convex_model_is_never_lower_where_it_was_attacked(method):
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        target = torch.randn(3, 2, generator=generator)
        inputs = torch.randn(3, 2, generator=generator)

        def loss_of(x, target=target):
            return torch.nn.functional.softplus((x * target).sum(1)).sum()

        attacked = loss_under(Adversarial(method), loss_of, inputs)
        assert attacked.item() >= loss_of(inputs).item()


def test_the_gradient_reaches_inputs_and_weights_and_takes_the_perturbation_as_given():
    weight = torch.nn.Parameter(WEIGHTS.clone())
    inputs = INPUTS.clone().requires_grad_()

    def loss_of(x):
        return (USED * (x @ weight)).sum()

    adversarial_loss(loss_of, inputs, loss_of(inputs), Adversarial("fgm", epsilon=0.1)).backward()
    torch.testing.assert_close(inputs.grad, USED[:, None] * WEIGHTS)
    moved = 0.1 * (2.0 + 0.5) * WEIGHTS / 5.0
    torch.testing.assert_close(weight.grad, (USED[:, None] * INPUTS).sum(0) + moved)


def test_words_of_a_text_are_vectors_of_their_own():
    inputs = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    long = 10 * torch.ones_like(inputs)
    length = project(long, inputs, 0.1).norm(dim=-1)
    torch.testing.assert_close(length, 0.1 * inputs.norm(dim=-1))
