"""DPM-Solver++(2M), multistep and second order with one evaluation a step (Lu et al. 2022, arXiv 2211.01095)."""

from __future__ import annotations

import torch
from torch import Tensor

from .denoiser import Denoiser
from .noise import Noise
from .schedules import Schedule, alpha_sigma


@torch.no_grad()
def dpm_solver_2m(denoiser: Denoiser, x: Tensor, schedule: Schedule, times: Tensor, generator: Noise | None = None) -> Tensor:
    """x [N, ...] at times[0] -> a sample at times[-1] (Algorithm 2).

    The first step, and a last one to an infinite log SNR, are first order, which is DDIM's. Draws nothing: ``generator`` is
    there because every sampler has it.
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
