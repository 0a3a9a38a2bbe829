"""Samplers against the Gaussian oracle: end point, order, moments; and one sample whatever the network predicts."""

import math
from itertools import pairwise

import pytest
import torch
from diffusion import oracle
from torch import Tensor

from components.diffusion.model import clipped, conditioned, make_denoiser
from components.diffusion.parametrisation import to_x0
from components.diffusion.samplers import EVALUATIONS, SAMPLERS, SPACING, ancestral, ddim, dpm_solver_2m, heun
from components.diffusion.schedules import make_schedule
from components.diffusion.times import time_grid, time_of

ORDERS = [(ddim, 1.0), (heun, 2.0), (dpm_solver_2m, 2.0)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, dtype=torch.float64, generator=generator(seed))


def finite_times(schedule, steps: int) -> Tensor:
    """Even in log SNR from -8 to 8: both ends finite, so the order is not hidden by the last step."""
    return time_of(schedule, torch.linspace(-8, 8, steps + 1, dtype=torch.float64))


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize(("sampler", "order"), ORDERS)
def test_order_of_the_ode_samplers(name, sampler, order) -> None:
    schedule, x = make_schedule(name, None), noise(16)
    errors = []
    for steps in (20, 40, 80):
        times = finite_times(schedule, steps)
        end = sampler(oracle.denoiser(schedule), x, schedule, times, generator())
        errors.append(float((end - oracle.ode_end(x, schedule, times)).abs().max()))
    slopes = [math.log2(before / after) for before, after in pairwise(errors)]
    assert slopes[-1] == pytest.approx(order, abs=0.2)


def test_the_multistep_solver_is_the_paper_s_on_steps_of_unequal_widths() -> None:
    """Algorithm 2 in its own letters, by hand. The order does not tell: the errors of a wrong ratio cancel step by step."""
    schedule, x, lambdas = make_schedule("linear", None), noise(8), [-2.0, -1.7, -0.8]
    times = time_of(schedule, 2 * torch.tensor(lambdas, dtype=torch.float64))
    denoise = oracle.denoiser(schedule)
    alpha, sigma = ([math.sqrt(1 / (1 + math.exp(sign * 2 * value))) for value in lambdas] for sign in (-1, 1))
    h = [lambdas[1] - lambdas[0], lambdas[2] - lambdas[1]]
    first = denoise(x, times[0])
    middle = sigma[1] / sigma[0] * x - alpha[1] * math.expm1(-h[0]) * first
    r, second = h[0] / h[1], denoise(middle, times[1])
    mixed = (1 + 1 / (2 * r)) * second - 1 / (2 * r) * first
    expected = sigma[2] / sigma[1] * middle - alpha[2] * math.expm1(-h[1]) * mixed
    torch.testing.assert_close(dpm_solver_2m(denoise, x, schedule, times), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine", "vdm_fixed"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_own_spacing_ends_at_the_data(name, sampler) -> None:
    """In float32, with the spacing that goes with the sampler and the step to 0 that ends it."""
    schedule = make_schedule(name, None)
    times = time_grid(schedule, 60, SPACING[sampler])
    begin = oracle.marginal(noise(20_000), schedule, times[0]).float()
    x = SAMPLERS[sampler](oracle.denoiser(schedule), begin, schedule, times, generator(1))
    assert x.dtype == torch.float32
    assert float(x.mean()) == pytest.approx(oracle.MEAN, abs=0.02)
    assert float(x.std()) == pytest.approx(oracle.STD, rel=0.15 if sampler == "ancestral" else 0.05)


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_ancestral_has_the_data_s_moments(variance) -> None:
    """Exact posteriors, so only the variance is off, from below and from above, by the discretisation (1,000 steps)."""
    schedule, count = make_schedule("linear", 1000), 10_000
    x = ancestral(
        oracle.denoiser(schedule), noise(count).float(), schedule, time_grid(schedule, 1000), generator(1), variance=variance
    )
    assert float(x.mean()) == pytest.approx(oracle.MEAN, abs=4 * oracle.STD / count**0.5)
    assert float(x.std()) == pytest.approx(oracle.STD, rel=0.03)


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_the_last_step_of_ancestral_sampling_adds_no_noise(variance) -> None:
    schedule, x0, times = make_schedule("linear", 50), noise(8, 1), torch.tensor([0.02, 0.0], dtype=torch.float64)
    assert torch.allclose(ancestral(lambda x, t: x0, noise(8), schedule, times, generator(), variance=variance), x0, atol=1e-12)


def test_ddim_with_eta_1_is_ancestral_sampling() -> None:
    schedule, x = make_schedule("cosine", 50), noise(8)
    times, denoise = time_grid(schedule, 20), oracle.denoiser(schedule)
    drawn = [ddim(denoise, x, schedule, times, generator(), eta=1.0), ancestral(denoise, x, schedule, times, generator())]
    assert torch.allclose(*drawn, atol=1e-12)


def test_eta_is_the_share_of_the_posterior_s_deviation_that_is_drawn() -> None:
    """One step with eta = .5, by DDIM's eq. 12 and 16 in its own letters."""
    schedule, x, x0 = make_schedule("linear", 50), noise(8), noise(8, 5)
    times = torch.tensor([0.6, 0.4], dtype=torch.float64)
    now, then = schedule.log_snr(times).sigmoid()  # alpha_t and alpha_{t-1}, which are ours squared
    deviation = 0.5 * ((1 - then) / (1 - now)).sqrt() * (1 - now / then).sqrt()
    eps = (x - now.sqrt() * x0) / (1 - now).sqrt()
    expected = then.sqrt() * x0 + (1 - then - deviation**2).sqrt() * eps + deviation * noise(8, 7)
    assert torch.allclose(ddim(lambda x, t: x0, x, schedule, times, generator(7), eta=0.5), expected, atol=1e-12)


def test_ddim_deviations_are_those_of_the_reference() -> None:
    """Final std for data N(0, .5^2), as measured with guided-diffusion's and diffusers' code: 0.3785, 0.4388, 0.4779, 0.4916.

    They began at a draw of noise, we at a deviation of exactly 1: the ratios are what must agree.
    """
    schedule = make_schedule("linear", 1000)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        snr = schedule.log_snr(t).exp()
        return 0.25 * snr / (1 + 0.25 * snr) * x / schedule.log_snr(t).sigmoid().sqrt()

    found = {}
    for steps in (10, 20, 50, 100):
        index = torch.arange(0, 1000, 1000 // steps, dtype=torch.float64).flip(0)  # their "leading" steps, 0 first
        times = torch.cat([(index + 1) / 1000, torch.zeros(1, dtype=torch.float64)])
        found[steps] = float(ddim(denoise, torch.ones(1, 1, dtype=torch.float64), schedule, times, generator()))
    for steps, theirs in {10: 0.3785, 20: 0.4388, 50: 0.4779}.items():
        assert found[steps] / found[100] == pytest.approx(theirs / 0.4916, abs=2e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_three_parametrisations_of_one_network_draw_one_sample(sampler) -> None:
    schedule = make_schedule("cosine", 50)
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(1, 1, 3, padding=1).double()

    def network_of(target):
        def network(x: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
            log_snr = schedule.log_snr((time + 20) / 1000)
            return {"x0": to_x0, "eps": oracle.to_eps, "v": oracle.to_v}[target]("v", layer(x), x, log_snr)

        return network

    x, times = noise(16).reshape(1, 1, 4, 4), time_grid(schedule, 12, SPACING[sampler])
    samples = [
        SAMPLERS[sampler](clipped(conditioned(denoiser, {})), x, schedule, times, generator())
        for denoiser in (make_denoiser(network_of(target), schedule, target) for target in oracle.TARGETS)
    ]
    assert torch.allclose(samples[0], samples[1], atol=1e-6)
    assert torch.allclose(samples[1], samples[2], atol=1e-6)
    assert samples[0].abs().max() <= 1.0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_seed_one_sample_and_the_stated_number_of_evaluations(sampler) -> None:
    schedule, calls = make_schedule("linear", None), []

    def counted(x: Tensor, t: Tensor) -> Tensor:
        calls.append(float(t))
        return oracle.denoiser(schedule)(x, t)

    times = time_grid(schedule, 10, SPACING[sampler])
    once, again = (SAMPLERS[sampler](counted, noise(4), schedule, times, generator(2)) for _ in range(2))
    assert torch.equal(once, again)
    assert len(calls) == 2 * (10 * EVALUATIONS[sampler] - (EVALUATIONS[sampler] - 1))
