"""DDIM (Song et al. 2021, arXiv 2010.02502)."""

from __future__ import annotations

import torch
from torch import Tensor

from .ancestral import posterior
from .denoiser import Denoiser
from .noise import Noise, normal_like
from .schedules import Schedule, alpha_sigma


@torch.no_grad()
def ddim(denoiser: Denoiser, x: Tensor, schedule: Schedule, times: Tensor, generator: Noise, *, eta: float = 0.0) -> Tensor:
    """x [N, ...] at times[0] -> a sample at times[-1] (eq. 12 and 16); first order.

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
