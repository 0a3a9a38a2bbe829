"""EDM's deterministic sampler: Heun's method on the probability flow ODE (Karras et al. 2022, arXiv 2206.00364)."""

from __future__ import annotations

import torch
from torch import Tensor

from .denoiser import Denoiser
from .noise import Noise
from .schedules import Schedule, alpha_sigma


@torch.no_grad()
def heun(denoiser: Denoiser, x: Tensor, schedule: Schedule, times: Tensor, generator: Noise | None = None) -> Tensor:
    """x [N, ...] at times[0] -> a sample at times[-1] (Algorithm 1); second order, two evaluations a step.

    The ODE is dy/ds = (y - x_0) / s in y = x / alpha and s = sigma / alpha, eq. 1 with EDM's s(t) = 1. A step to s = 0 is
    Euler's. Draws nothing: ``generator`` is there because every sampler has it.
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
