"""Samplers: pure functions of (denoiser, x, schedule, times, generator), each one algorithm of a paper.

Ancestral sampling (DDPM; Ho et al. 2020, arXiv 2006.11239), DDIM (Song et al. 2021, arXiv 2010.02502), EDM's Heun (Karras et
al. 2022, arXiv 2206.00364), DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from .model import Denoiser
from .schedules import Schedule, alpha_sigma
from .times import Spacing

Noise = torch.Generator | Sequence[torch.Generator]  # of a whole batch, or one for each of its images


def normal_like(x: Tensor, generator: Noise) -> Tensor:
    """Standard normal noise like x [N, ...], drawn on the generator's device: CPU generators give the same on every machine."""
    if isinstance(generator, torch.Generator):
        return torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    rows = [torch.randn(x.shape[1:], generator=g, device=g.device, dtype=x.dtype) for g in generator]
    return torch.stack(rows).to(x.device)


def image_generators(seed: int, first: int, count: int) -> list[torch.Generator]:
    """One CPU generator for each of the images first..first + count - 1: an image does not depend on its batch."""
    base = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "big")
    return [torch.Generator().manual_seed((base + first + i) % 2**32) for i in range(count)]


def posterior(later: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q(x_s | x_t, x_0) = N(a x_0 + b x_t, variance I) for s < t: (a, b, variance), float64, from log SNR(t) and log SNR(s).

    DDPM's eq. 7 for s = t - 1/T (VDM, appendix A.2). If log SNR(s) is infinite, the result is x_0.
    """
    later, earlier = later.double(), earlier.double()
    share = -torch.expm1(later - earlier)  # sigma_{t|s}^2 / sigma_t^2
    a = earlier.sigmoid().sqrt() * share
    b = (later.sigmoid() / earlier.sigmoid()).sqrt() * (-earlier).sigmoid() / (-later).sigmoid()
    return a, b, share * (-earlier).sigmoid()


@torch.no_grad()
def ancestral(
    denoiser: Denoiser,
    x: Tensor,
    schedule: Schedule,
    times: Tensor,
    generator: Noise,
    *,
    variance: Literal["posterior", "forward"] = "posterior",
    gradient: Denoiser | None = None,
) -> Tensor:
    """Ancestral sampling (DDPM, Algorithm 2) at any times: x [N, ...] at times[0] -> a sample at times[-1].

    ``times``: decreasing, from ``time_grid``. ``variance``: of the posterior, or "forward", sigma_{t|s}^2, which is beta for
    the table's own steps (DDPM's two choices); the last step uses the posterior's in both. ``gradient``: (x_t, t) -> scale x
    grad log p(y | x_t); the mean moves by the variance times it (Dhariwal & Nichol 2021, arXiv 2105.05233, Algorithm 1).
    """
    log_snr = schedule.log_snr(times).cpu()
    for i in range(len(times) - 1):
        a, b, spread = posterior(log_snr[i], log_snr[i + 1])
        if variance == "forward" and i < len(times) - 2:
            spread = -torch.expm1(log_snr[i] - log_snr[i + 1]) * (-log_snr[i]).sigmoid()
        mean = a * denoiser(x, times[i]) + b * x
        if gradient is not None:
            mean = mean + spread * gradient(x, times[i])
        x = mean + spread.sqrt() * normal_like(x, generator)
    return x


@torch.no_grad()
def ddim(denoiser: Denoiser, x: Tensor, schedule: Schedule, times: Tensor, generator: Noise, *, eta: float = 0.0) -> Tensor:
    """DDIM (eq. 12 and 16), first order: x [N, ...] at times[0] -> a sample at times[-1].

    ``eta``: share of the posterior's standard deviation that is drawn anew; 0 is the ODE, 1 is ancestral sampling.
    """
    log_snr = schedule.log_snr(times).cpu()
    for i in range(len(times) - 1):
        x0 = denoiser(x, times[i])
        (alpha, sigma), (next_alpha, next_sigma) = alpha_sigma(log_snr[i], x), alpha_sigma(log_snr[i + 1], x)
        eps = (x - alpha * x0) / sigma
        drawn = eta**2 * posterior(log_snr[i], log_snr[i + 1])[2].to(x)
        x = next_alpha * x0 + (next_sigma.square() - drawn).clamp(min=0).sqrt() * eps
        if eta > 0:
            x = x + drawn.sqrt() * normal_like(x, generator)
    return x


@torch.no_grad()
def heun(denoiser: Denoiser, x: Tensor, schedule: Schedule, times: Tensor, generator: Noise | None = None) -> Tensor:
    """EDM's deterministic sampler (Algorithm 1), second order, two evaluations per step: x [N, ...] -> a sample at times[-1].

    The ODE is dy/ds = (y - x_0) / s in y = x / alpha and s = sigma / alpha, eq. 1 with EDM's s(t) = 1. A step to s = 0 is
    Euler's. ``generator`` is unused.
    """
    log_snr = schedule.log_snr(times).cpu()
    for i in range(len(times) - 1):
        (alpha, sigma), (next_alpha, next_sigma) = alpha_sigma(log_snr[i], x), alpha_sigma(log_snr[i + 1], x)
        y, s, next_s = x / alpha, sigma / alpha, next_sigma / next_alpha
        slope = (y - denoiser(x, times[i])) / s
        x = next_alpha * (y + (next_s - s) * slope)
        if not torch.isposinf(log_snr[i + 1]):
            next_slope = (x / next_alpha - denoiser(x, times[i + 1])) / next_s
            x = next_alpha * (y + (next_s - s) * (slope + next_slope) / 2)
    return x


@torch.no_grad()
def dpm_solver_2m(denoiser: Denoiser, x: Tensor, schedule: Schedule, times: Tensor, generator: Noise | None = None) -> Tensor:
    """DPM-Solver++(2M) (Algorithm 2), second order, one evaluation per step: x [N, ...] -> a sample at times[-1].

    The first step, and a last one to an infinite log SNR, are first order (DDIM). ``generator`` is unused.
    """
    log_snr = schedule.log_snr(times).cpu()
    width = log_snr.diff() / 2  # h, in lambda = log(alpha / sigma)
    last_x0: Tensor | None = None
    for i in range(len(times) - 1):
        x0 = denoiser(x, times[i])
        estimate = x0
        if last_x0 is not None and torch.isfinite(width[i]):
            ratio = width[i] / width[i - 1] / 2  # 1 / (2 r)
            estimate = x0 + ratio * (x0 - last_x0)
        sigma, (next_alpha, next_sigma) = alpha_sigma(log_snr[i], x)[1], alpha_sigma(log_snr[i + 1], x)
        x = next_sigma / sigma * x - next_alpha * torch.expm1(-width[i]).to(x) * estimate
        last_x0 = x0
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ancestral": ancestral,
    "ddim": ddim,
    "heun": heun,
    "dpm_solver_2m": dpm_solver_2m,
}
SPACING: dict[str, Spacing] = {"ancestral": "uniform", "ddim": "uniform", "heun": "karras", "dpm_solver_2m": "log_snr"}
# Evaluations of the denoiser per step; the last step of heun, to 0, takes one.
EVALUATIONS = {
    "ancestral": 1,
    "ddim": 1,
    "heun": 2,
    "dpm_solver_2m": 1,
}
