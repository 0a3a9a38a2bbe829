"""The forward process, the training loss, and VDM's variational bound (Kingma et al. 2021, arXiv 2107.00630)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .parametrisation import Target, Weighting, loss_weight, make_target
from .schedules import Schedule, alpha_sigma

Network = Callable[[Tensor, Tensor], Tensor]  # (x_t [N, ...], time input [N]) -> prediction [N, ...], condition fixed


def diffuse(x0: Tensor, eps: Tensor, log_snr: Tensor) -> Tensor:
    """Sample x_t ~ q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I) with the given noise; log SNR [] or [N]."""
    alpha, sigma = alpha_sigma(log_snr, x0)
    return alpha * x0 + sigma * eps


def draw_times(count: int, num_steps: int | None, generator: torch.Generator, start: float = 0.0) -> Tensor:
    """Draw times, float64 [N] on the generator's device: uniform on [start, 1], or on i / T, i = 1..T, if ``num_steps`` is T.

    Low-discrepancy (VDM, appendix I.1): one uniform number, spread evenly over the batch, reduces the variance of the loss.
    """
    first = torch.rand((), dtype=torch.float64, device=generator.device, generator=generator)
    even = torch.arange(count, dtype=torch.float64, device=generator.device) / count
    return times_of(torch.remainder(first + even, 1.0), num_steps, start)


def times_of(uniform: Tensor, num_steps: int | None, start: float = 0.0) -> Tensor:
    """Map numbers in [0, 1) to times, float64: on [start, 1], or to i / T, i = 1..T, each with a share 1 / T of [0, 1)."""
    u = uniform.double()
    return start + (1 - start) * u if num_steps is None else (u * num_steps).floor().add(1) / num_steps


def vlb_weight(schedule: Schedule, t: Tensor, num_steps: int | None) -> Tensor:
    """Weight of |eps error|^2 at time t in the bound, float64 [N] (VDM, eq. 17 and 13).

    T = inf: 1/2 d(-log SNR)/dt, times the length of [start, 1]. T finite: T/2 expm1(log SNR(s) - log SNR(t)), s = t - 1/T,
    at least ``start``: earlier times belong to the reconstruction term, so DDPM's first step has weight 0.
    """
    if num_steps is None:
        rate = torch.func.jvp(schedule.log_snr, (t,), (torch.ones_like(t),))[1]
        return -0.5 * (1 - schedule.start) * rate
    earlier = (t - 1 / num_steps).clamp(min=schedule.start)
    return 0.5 * num_steps * torch.expm1(schedule.log_snr(earlier) - schedule.log_snr(t.clamp(min=schedule.start)))


def training_loss(
    network: Network,
    x0: Tensor,
    eps: Tensor,
    t: Tensor,
    schedule: Schedule,
    *,
    target: Target,
    weighting: Weighting,
    num_steps: int | None = None,
    min_snr_gamma: float = 5.0,
) -> Tensor:
    """Weighted squared error of the prediction, averaged over each image, [N].

    ``num_steps``: T of the bound, used if ``weighting`` is "vlb". ``min_snr_gamma``: of the weighting "min_snr".
    """
    log_snr = schedule.log_snr(t)
    prediction = network(diffuse(x0, eps, log_snr), schedule.time_input(t).to(x0))
    error = (make_target(target, x0, eps, log_snr) - prediction.to(x0)).square().flatten(1).mean(1)
    vlb = vlb_weight(schedule, t, num_steps) if weighting == "vlb" else None
    return error * loss_weight(target, weighting, log_snr, vlb, min_snr_gamma).to(error)


@dataclass(frozen=True)
class Bound:
    """The three terms of -log p(x) <= reconstruction + prior + diffusion, each [N], in nats per image; ``num_dims``: C H W."""

    reconstruction: Tensor
    prior: Tensor
    diffusion: Tensor
    num_dims: int

    def total(self) -> Tensor:
        """Nats per image, [N]."""
        return self.reconstruction + self.prior + self.diffusion

    def bits_per_dim(self) -> Tensor:
        """[N]."""
        return self.total() / (self.num_dims * math.log(2))


def variational_bound(
    network: Network,
    x0: Tensor,
    eps: Tensor,
    t: Tensor,
    schedule: Schedule,
    *,
    eps_start: Tensor,
    target: Target,
    num_steps: int | None,
    levels: int = 256,
) -> Bound:
    """One draw of VDM's bound (eq. 5, 12-17) for images x0 [N, ...] whose numbers are 2 k / (levels - 1) - 1.

    t [N] from ``draw_times(N, num_steps, generator, schedule.start)``; eps and eps_start: standard normal noise like x0.
    """
    start, end = (schedule.log_snr(torch.full((1,), time, dtype=torch.float64)) for time in (schedule.start, 1.0))
    num_dims = x0[0].numel()
    error = training_loss(
        network, x0, eps, t.clamp(min=schedule.start), schedule, target=target, weighting="vlb", num_steps=num_steps
    )
    reconstruction = -log_likelihood_of_levels(x0, diffuse(x0, eps_start, start), start, levels).flatten(1).sum(1)
    return Bound(reconstruction, prior_kl(x0, end), num_dims * error, num_dims)


def prior_kl(x0: Tensor, log_snr: Tensor) -> Tensor:
    """KL(q(x_1 | x_0) | N(0, I)) in nats, [N] (VDM, eq. 12)."""
    alpha, sigma = alpha_sigma(log_snr, x0)
    return 0.5 * ((alpha * x0).square() + sigma.square() - 2 * sigma.log() - 1).flatten(1).sum(1)


def log_likelihood_of_levels(x0: Tensor, z: Tensor, log_snr: Tensor, levels: int) -> Tensor:
    """log p(x_0 | z) per number, like x0: a softmax over the levels of N(z; alpha level, sigma^2) (VDM, section 3.3)."""
    alpha, sigma = alpha_sigma(log_snr, x0)
    values = torch.linspace(-1, 1, levels, dtype=x0.dtype, device=x0.device)
    logits = -0.5 * ((z / alpha).unsqueeze(-1) - values).mul((alpha / sigma).unsqueeze(-1)).square()  # [..., levels]
    index = ((x0 + 1) / 2 * (levels - 1)).round().long()
    return F.log_softmax(logits, -1).gather(-1, index.unsqueeze(-1)).squeeze(-1)
