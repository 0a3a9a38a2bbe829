"""Gradient penalties against quadratics whose gradients are known, finite differences, and by themselves."""

import pytest
import torch
from torch import Tensor, nn

from components.adversarial.losses import gradient_penalty, image_gradients, interpolate, r1_penalty


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic() -> tuple[Tensor, Tensor]:
    """A symmetric, b of D(x) = x^T A x / 2 + b^T x, whose gradient is A x + b."""
    matrix = noise(12, 12)
    return (matrix + matrix.T) / 2, noise(12, seed=1)


def scores_of(x: Tensor, matrix: Tensor, b: Tensor) -> Tensor:
    flat = x.flatten(1)
    return (flat @ matrix * flat).sum(1) / 2 + flat @ b


def test_penalties_of_a_quadratic() -> None:
    """Mescheder et al. 2018, eq. 9: ||A x + b||^2 / 2, whose gradient in b is A x + b; Gulrajani et al. 2017, eq. 3."""
    (matrix, b), x = quadratic(), noise(5, 3, 2, 2, seed=2).requires_grad_()
    b.requires_grad_()
    gradient = (x.flatten(1) @ matrix + b).detach()
    r1 = r1_penalty(scores_of(x, matrix, b), x)
    assert r1.item() == pytest.approx(gradient.square().sum(1).mean().item() / 2)
    assert torch.allclose(torch.autograd.grad(r1, b)[0], gradient.mean(0))
    wanted = (gradient.norm(dim=1) - 1).square().mean()
    assert gradient_penalty(scores_of(x, matrix, b), x).item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("penalty", [r1_penalty, gradient_penalty])
def test_the_penalty_s_own_gradient_is_that_of_finite_differences(penalty) -> None:
    """Of a network's weights, through d/dx: what a discriminator learns from it. Patches [N, 1, 3, 3] count as their sum."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 3)).double()
    x, weight = noise(4, 2, 5, 5), network[0].weight

    def value() -> Tensor:
        given = x.clone().requires_grad_()
        return penalty(network(given), given)

    value().backward()
    direction, step = noise(*weight.shape, seed=3), 1e-5
    expected = (weight.grad * direction).sum().item()
    with torch.no_grad():
        weight += step * direction
        above = value_of(value)
        weight -= 2 * step * direction
        below = value_of(value)
    assert (above - below) / (2 * step) == pytest.approx(expected, rel=1e-6)


def value_of(value) -> float:
    with torch.enable_grad():
        return value().item()


def test_an_image_s_gradient_is_its_own_and_float32_under_autocast() -> None:
    network, x = nn.Conv2d(1, 1, 3, bias=False), noise(2, 1, 4, 4).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = network(x)
    assert scores.dtype == torch.bfloat16
    gradient = image_gradients(scores, x)
    assert gradient.dtype == torch.float32
    assert gradient.shape == (2, 16)
    assert torch.equal(gradient[0], gradient[1])  # of a linear network


def test_a_flat_critic_is_penalised_and_gives_no_nan() -> None:
    scale, x = torch.zeros(1, requires_grad=True), noise(3, 2).float().requires_grad_()
    penalty = gradient_penalty((scale * x).sum(1), x)
    penalty.backward()
    assert penalty.item() == 1
    assert scale.grad.item() == 0


def test_interpolates_lie_where_the_share_says_and_start_a_new_graph() -> None:
    real, fake, share = noise(3, 2, 2, 2), noise(3, 2, 2, 2, seed=1).requires_grad_(), torch.tensor([0.0, 0.25, 1.0])
    between = interpolate(real, fake, share)
    assert between.is_leaf
    assert between.requires_grad
    wanted = torch.stack([fake[0], 0.25 * real[1] + 0.75 * fake[1], real[2]])
    assert torch.allclose(between, wanted)
    assert interpolate(real, fake.to(torch.bfloat16), share).dtype == real.dtype  # as under autocast
