"""The forward process, the loss in three parametrisations, and VDM's bound against closed forms."""

import math
from itertools import pairwise

import pytest
import torch
from diffusion.oracle import MEAN, STD, TARGETS, exact_x0, to_eps, to_score, to_v
from torch import Tensor

from components.diffusion.objective import (
    diffuse,
    draw_times,
    log_likelihood_of_levels,
    prior_kl,
    training_loss,
    variational_bound,
    vlb_weight,
)
from components.diffusion.parametrisation import loss_weight, make_target, to_x0
from components.diffusion.schedules import alpha_sigma, linear_betas, make_schedule

DOUBLE = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=generator(seed))


@pytest.mark.parametrize("t", [0.1, 0.5, 1.0])
def test_moments_of_the_forward_process(t) -> None:
    """x_t | x_0 reached in 50 small steps x -> sqrt(1 - beta) x + sqrt(beta) eps has the moments that one step claims."""
    schedule, count = make_schedule("linear", 50), 20_000
    x = torch.full((count, 1), 0.8, dtype=DOUBLE)
    for i, beta in enumerate(linear_betas(50)[: round(50 * t)]):
        x = (1 - beta).sqrt() * x + beta.sqrt() * normal(count, 1, seed=i)
    jumped = diffuse(torch.full((count, 1), 0.8, dtype=DOUBLE), normal(count, 1, seed=99), schedule.log_snr(torch.tensor(t)))
    for found in (x, jumped):
        alpha, sigma = alpha_sigma(schedule.log_snr(torch.tensor(t)), x)
        assert float(found.mean()) == pytest.approx(0.8 * float(alpha), abs=4 * float(sigma) / count**0.5)
        assert float(found.std()) == pytest.approx(float(sigma), rel=0.02)


def test_conversions_are_exact_and_agree() -> None:
    x0, eps, log_snr = normal(4, 2, 3, 3), normal(4, 2, 3, 3, seed=1), torch.tensor([8.0, 1.0, -2.0, -8.0], dtype=DOUBLE)
    x = diffuse(x0, eps, log_snr)
    sigma = alpha_sigma(log_snr, x)[1]
    for target in TARGETS:
        answer = make_target(target, x0, eps, log_snr)
        assert torch.allclose(to_x0(target, answer, x, log_snr), x0, atol=1e-12)
        assert torch.allclose(to_eps(target, answer, x, log_snr), eps, atol=1e-12)
        assert torch.allclose(to_v(target, answer, x, log_snr), make_target("v", x0, eps, log_snr), atol=1e-12)
        assert torch.allclose(to_score(target, answer, x, log_snr), -eps / sigma, atol=1e-12)


@pytest.mark.parametrize("name", ["linear", "cosine", "vdm_fixed"])
@pytest.mark.parametrize("num_steps", [None, 50])
@pytest.mark.parametrize("weighting", ["simple", "vlb", "min_snr"])
def test_one_network_has_one_loss_whatever_it_is_said_to_predict(name, num_steps, weighting) -> None:
    schedule = make_schedule(name, num_steps)
    x0, eps, t = normal(6, 1, 2, 2), normal(6, 1, 2, 2, seed=1), draw_times(6, num_steps, generator(), schedule.start)
    log_snr = schedule.log_snr(t)

    def network_of(target):
        def network(x: Tensor, time: Tensor) -> Tensor:
            return {"x0": to_x0, "eps": to_eps, "v": to_v}[target]("v", 0.3 * x + 0.1, x, log_snr)

        return network

    losses = [
        training_loss(network_of(target), x0, eps, t, schedule, target=target, weighting=weighting, num_steps=num_steps)
        for target in TARGETS
    ]
    assert torch.allclose(losses[0], losses[1], rtol=1e-8)
    assert torch.allclose(losses[1], losses[2], rtol=1e-8)
    plain = [training_loss(network_of(target), x0, eps, t, schedule, target=target, weighting="plain") for target in TARGETS]
    assert not torch.allclose(plain[0], plain[1])


def test_simple_loss_is_the_mean_squared_error_of_eps() -> None:
    schedule, x0, eps = make_schedule("linear", 50), normal(3, 1, 2, 2), normal(3, 1, 2, 2, seed=1)
    loss = training_loss(
        lambda x, time: torch.zeros_like(x), x0, eps, torch.tensor([0.1, 0.5, 1.0]), schedule, target="eps", weighting="simple"
    )
    assert torch.allclose(loss, eps.square().flatten(1).mean(1))


def test_min_snr_weights_are_those_of_the_paper() -> None:
    log_snr = torch.tensor([-4.0, 0.0, 4.0], dtype=DOUBLE)
    snr = log_snr.exp()
    least = snr.clamp(max=5.0)
    assert torch.allclose(loss_weight("x0", "min_snr", log_snr), least)
    assert torch.allclose(loss_weight("eps", "min_snr", log_snr), least / snr)
    assert torch.allclose(loss_weight("v", "min_snr", log_snr), least / (snr + 1))


def test_antithetic_times_are_even() -> None:
    times = draw_times(8, None, generator(), start=0.2)
    assert torch.allclose(times.sort().values.diff(), torch.full((7,), 0.1, dtype=DOUBLE))
    assert sorted((draw_times(10, 5, generator()) * 5).tolist()) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


# ------------------------------------------------------------------------------------------------ the bound


@pytest.mark.parametrize("name", ["linear", "cosine", "vdm_fixed"])
def test_vlb_weights_add_up_to_the_change_of_snr(name) -> None:
    """Where |eps error|^2 = SNR, so |x0 error|^2 = 1, seven steps' weights tell 1/2 (SNR(start) - SNR(1)) (VDM, eq. 14)."""
    schedule = make_schedule(name, None)
    t = draw_times(7, 7, generator())
    first, last = schedule.log_snr(torch.tensor([schedule.start, 1.0], dtype=DOUBLE)).exp()
    assert float((vlb_weight(schedule, t, 7) * schedule.log_snr(t).exp()).mean()) == pytest.approx(float(first - last) / 2)


@pytest.mark.parametrize("name", ["linear", "cosine", "vdm_fixed"])
def test_continuous_vlb_weight_is_half_the_slope_of_log_snr(name) -> None:
    schedule, step = make_schedule(name, None), 1e-6
    t = torch.linspace(0.01, 0.99, 9, dtype=DOUBLE)
    slope = (schedule.log_snr(t - step) - schedule.log_snr(t + step)) / (2 * step)
    assert torch.allclose(vlb_weight(schedule, t, None), 0.5 * (1 - schedule.start) * slope, rtol=1e-6)


def test_ddpm_s_first_step_is_the_reconstruction_s() -> None:
    schedule = make_schedule("linear", 50)
    weight = vlb_weight(schedule, torch.arange(1, 51, dtype=DOUBLE) / 50, 50)
    assert weight[0] == 0
    assert torch.isfinite(weight).all()
    assert (weight[1:] > 0).all()


def diffusion_term(num_steps: int | None) -> float:
    """The bound's diffusion term in nats for the Gaussian oracle, mean over many draws; predicts v."""
    schedule, count = make_schedule("vdm_fixed", None), 16_384
    x0 = MEAN + STD * normal(count, 1, seed=3)
    t = draw_times(count, num_steps, generator(1), schedule.start)

    def network(x: Tensor, time: Tensor) -> Tensor:
        return to_v("x0", exact_x0(x, schedule.log_snr(t)), x, schedule.log_snr(t))

    return float(
        training_loss(
            network, x0, normal(count, 1, seed=4), t, schedule, target="v", weighting="vlb", num_steps=num_steps
        ).mean()
    )


def expected_diffusion_term(num_steps: int | None) -> float:
    """mmse(snr) = s^2 / (1 + s^2 snr): the integral of mmse / 2 over snr, and its upper sums."""
    if num_steps is None:
        return 0.5 * (math.log1p(STD**2 * math.exp(13.3)) - math.log1p(STD**2 * math.exp(-5)))
    snr = [math.exp(13.3 - 18.3 * i / num_steps) for i in range(num_steps + 1)]
    return sum(0.5 * (s - t) * STD**2 / (1 + STD**2 * t) for s, t in pairwise(snr))


def test_diffusion_term_of_the_exact_denoiser_and_its_fall_with_the_number_of_steps() -> None:
    found = {num_steps: diffusion_term(num_steps) for num_steps in (8, 32, 128, None)}
    for num_steps, term in found.items():
        assert term == pytest.approx(expected_diffusion_term(num_steps), rel=0.03)
    assert found[8] > found[32] > found[128] > found[None]


def test_bound_of_the_exact_denoiser_is_the_entropy() -> None:
    """Two numbers of 256 levels; E[x_0 | x_t] by Bayes. The bound must be the entropy, which no model beats."""
    schedule, count = make_schedule("vdm_fixed", None), 4096
    values, level = torch.linspace(-1, 1, 256, dtype=DOUBLE), torch.arange(256, dtype=DOUBLE)
    log_p = torch.log_softmax(-0.5 * ((level - 100) / 20).square(), 0)
    x0 = values[torch.multinomial(log_p.exp(), 2 * count, replacement=True, generator=generator(5))].view(count, 2)
    t = draw_times(count, None, generator(6), schedule.start)

    def network(x: Tensor, time: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(schedule.log_snr(t), x)
        distance = (x.unsqueeze(-1) - alpha.unsqueeze(-1) * values) / sigma.unsqueeze(-1)  # [N, 2, 256]
        weights = torch.softmax(log_p - 0.5 * distance.square(), -1)
        return to_eps("x0", (weights * values).sum(-1), x, schedule.log_snr(t))

    bound = variational_bound(
        network, x0, normal(count, 2, seed=7), t, schedule, eps_start=normal(count, 2, seed=8), target="eps", num_steps=None
    )
    entropy = float(-(log_p.exp() * log_p).sum()) / math.log(2)
    assert float(bound.bits_per_dim().mean()) == pytest.approx(entropy, rel=0.02)
    assert float(bound.reconstruction.mean()) < 0.02
    assert float(bound.prior.mean()) < 0.02


def test_prior_and_levels_against_direct_formulas() -> None:
    log_snr = torch.tensor([-1.0], dtype=DOUBLE)
    q = torch.distributions.Normal(0.7 * log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros(1), torch.ones(1)))
    assert torch.allclose(prior_kl(torch.full((1, 3), 0.7, dtype=DOUBLE), log_snr), 3 * kl.double())
    z, alpha, sigma = 0.2, float(log_snr.sigmoid().sqrt()), float((-log_snr).sigmoid().sqrt())
    density = [math.exp(-0.5 * ((z - alpha * value) / sigma) ** 2) for value in (-1.0, 0.0, 1.0)]
    found = log_likelihood_of_levels(torch.ones(1, 3, dtype=DOUBLE), torch.full((1, 3), z, dtype=DOUBLE), log_snr, levels=3)
    assert found.tolist() == [pytest.approx([math.log(density[2] / sum(density))] * 3)]


def test_learned_schedule_gets_a_gradient_from_the_bound() -> None:
    schedule = make_schedule("vdm_learned", None)
    x0, t = torch.zeros(64, 1), draw_times(64, None, generator(), 0.0)
    noise = {"eps": torch.randn(64, 1, generator=generator(1)), "eps_start": torch.randn(64, 1, generator=generator(2))}
    bound = variational_bound(lambda x, time: 0.5 * x, x0, noise["eps"], t, schedule, eps_start=noise["eps_start"],
                              target="eps", num_steps=None)  # fmt: skip
    bound.total().mean().backward()
    for parameter in schedule.parameters():
        assert torch.isfinite(parameter.grad)
        assert parameter.grad != 0
