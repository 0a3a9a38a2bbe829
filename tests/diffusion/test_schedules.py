"""Schedules: their endpoints, their tables against DDPM's own formulas, and what is not allowed."""

import math

import numpy as np
import pytest
import torch

from components.diffusion.samplers import posterior
from components.diffusion.schedules import NAMES, Discrete, alpha_sigma, cosine_betas, linear_betas, make_schedule
from components.diffusion.times import SPACINGS, time_grid, time_of

EVERY = [(name, num_steps) for name in NAMES for num_steps in (None, 50)]


def line(count: int) -> torch.Tensor:
    return torch.linspace(0, 1, count, dtype=torch.float64)


@pytest.mark.parametrize(("name", "num_steps"), EVERY)
def test_log_snr_falls_and_alpha_sigma_are_a_rotation(name, num_steps) -> None:
    log_snr = make_schedule(name, num_steps).log_snr(line(301)).detach()
    assert log_snr.dtype == torch.float64
    assert (log_snr.diff() < 0).all()
    alpha, sigma = alpha_sigma(log_snr, torch.zeros(1, dtype=torch.float64))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-14)
    assert torch.allclose(2 * (alpha / sigma).log()[1:], log_snr[1:], atol=1e-9)


@pytest.mark.parametrize("betas", [linear_betas(1000), linear_betas(40), cosine_betas(1000), cosine_betas(40)])
def test_posterior_tables_are_ddpm_s(betas) -> None:
    schedule = Discrete(betas)
    beta = betas.numpy()
    bar = np.array([math.prod(float(1 - value) for value in beta[:i]) for i in range(len(beta) + 1)])  # alpha bar, i = 0..T
    log_snr = schedule.log_snr(line(len(beta) + 1))
    a, b, variance = (table.numpy() for table in posterior(log_snr[1:], log_snr[:-1]))
    assert np.allclose(variance, beta * (1 - bar[:-1]) / (1 - bar[1:]), rtol=1e-9, atol=1e-15)
    assert np.allclose(a, np.sqrt(bar[:-1]) * beta / (1 - bar[1:]), rtol=1e-9)
    assert np.allclose(b, np.sqrt(1 - beta) * (1 - bar[:-1]) / (1 - bar[1:]), rtol=1e-9, atol=1e-15)
    assert schedule.time_input(torch.tensor(1.0)) == pytest.approx(1000 - 1000 / len(beta))


@pytest.mark.parametrize(("name", "largest"), [("linear", 2e-3), ("cosine", 1e-9)])
def test_tables_tend_to_the_continuous_schedule(name, largest) -> None:
    t = line(1001)[1:-1]
    discrete, continuous = (make_schedule(name, num_steps).log_snr(t).sigmoid() for num_steps in (1000, None))
    assert (discrete - continuous).abs().max() < largest + 1e-4


def test_vdm_s_line_and_that_it_learns() -> None:
    fixed, learned = make_schedule("vdm_fixed", None), make_schedule("vdm_learned", None)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert torch.allclose(fixed.log_snr(ends), torch.tensor([13.3, -5.0], dtype=torch.float64), atol=1e-5)
    assert torch.allclose(learned.time_input(ends), torch.tensor([0.0, 1000.0], dtype=torch.float64), atol=1e-3)
    with torch.no_grad():
        learned.slope.neg_()
    assert (learned.log_snr(line(5)).diff() < 0).all()  # monotone whatever the parameter
    learned.log_snr(ends).sum().backward()
    assert learned.slope.grad is not None
    assert [parameter for parameter in fixed.parameters() if parameter.requires_grad] == []


def test_the_published_ends_of_tables_and_limits() -> None:
    """DDPM's betas, whose sum does not depend on T; the scale of the time input; the least log SNR of the cosine."""
    assert linear_betas(1000)[[0, -1]].tolist() == pytest.approx([1e-4, 0.02])
    assert linear_betas(500)[[0, -1]].tolist() == pytest.approx([2e-4, 0.04])
    assert cosine_betas(1).tolist() == pytest.approx([0.999])
    end = torch.ones(1, dtype=torch.float64)
    for name, log_snr, least in (("linear", math.log(1 / math.expm1(10.05)), 13.8), ("cosine", -20.0, 14.7)):
        schedule = make_schedule(name, None)
        assert schedule.time_input(end).item() == 1000
        assert schedule.log_snr(end).item() == pytest.approx(log_snr)
        assert schedule.log_snr(schedule.start * end).item() == pytest.approx(least, abs=0.07)


@pytest.mark.parametrize("name", ["linear", "cosine", "vdm_fixed"])
def test_time_of_is_the_inverse(name) -> None:
    schedule, t = make_schedule(name, None), line(21)[1:]
    assert torch.allclose(time_of(schedule, schedule.log_snr(t).detach()), t, atol=1e-12)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("name", "num_steps"), EVERY)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_time_grids_fall_to_zero(name, num_steps, spacing, steps) -> None:
    times = time_grid(make_schedule(name, num_steps), steps, spacing)
    assert len(times) == steps + 1
    assert (times.diff() < 0).all()
    assert times[-1] == 0
    assert times[0] > 0.8
    if num_steps and spacing in ("uniform", "quadratic"):
        assert torch.allclose(times * num_steps, (times * num_steps).round(), atol=1e-9)


def test_log_snr_and_karras_grids_are_even_where_they_say_and_begin_at_a_ratio_of_80() -> None:
    schedule = make_schedule("cosine", None)
    even, karras = (schedule.log_snr(time_grid(schedule, 9, spacing)[:-1]) for spacing in ("log_snr", "karras"))
    for ratios, scale in (((-even / 2).exp(), torch.log), ((-karras / 2).exp(), lambda ratio: ratio ** (1 / 7))):
        assert float(ratios[0]) == pytest.approx(80.0)
        gaps = scale(ratios).diff()
        assert torch.allclose(gaps, gaps[:1].expand(8), rtol=1e-6)
    begin = time_grid(make_schedule("vdm_fixed", None), 9, "karras")[0]
    assert begin == pytest.approx(1.0)  # sigma / alpha is 12 there
    line_of_vdm = make_schedule("vdm_fixed", None)  # finite at t = 0: even down to there
    gaps = line_of_vdm.log_snr(time_grid(line_of_vdm, 9, "log_snr")).diff()
    assert torch.allclose(gaps, torch.full((9,), 18.3 / 9, dtype=torch.float64))


def test_a_full_grid_is_the_table() -> None:
    assert torch.allclose(time_grid(make_schedule("linear", 50), 50), line(51).flip(0))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: make_schedule("sigmoid", None), "linear, cosine, vdm_fixed, vdm_learned"),
        (lambda: make_schedule("cosine", 0), "at least 1"),
        (lambda: make_schedule("linear", 20), "at least 21"),
        (lambda: time_grid(make_schedule("linear", 50), 0), "1 to the schedule's 50"),
        (lambda: time_grid(make_schedule("linear", 50), 51), "1 to the schedule's 50"),
        (lambda: time_grid(make_schedule("linear", None), 0), "at least 1"),
        (lambda: time_grid(make_schedule("linear", None), 5, "even"), "uniform, quadratic, log_snr, karras"),
    ],
)
def test_what_is_not_allowed_says_what_is(make, told) -> None:
    with pytest.raises(ValueError, match=told):
        make()
