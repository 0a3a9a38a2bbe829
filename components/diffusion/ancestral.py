"""Ancestral sampling, DDPM's Algorithm 2 (Ho et al. 2020, arXiv 2006.11239) for any times."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .denoiser import Denoiser
from .noise import Noise, normal_like
from .schedules import Schedule


def posterior(later: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q(x_s | x_t, x_0) = N(a x_0 + b x_t, variance I) for s < t: (a, b, variance), float64, from log SNR(t) and log SNR(s).

    DDPM's eq. 7 where s = t - 1/T (VDM, appendix A.2); log SNR(s) may be infinite: the answer is then x_0.
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
    """x [N, ...] at times[0] -> a sample at times[-1]; ``times``: falling, from ``time_grid``.

    ``variance``: of the posterior, or sigma_{t|s}^2, which is beta where the steps are the table's (DDPM's two choices); the
    last step has the posterior's in both. ``gradient``: (x_t, t) -> gamma grad log p(y | x_t); the mean moves by variance
    times it (Dhariwal & Nichol 2021, arXiv 2105.05233, Algorithm 1).
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
