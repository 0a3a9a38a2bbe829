"""From a network that predicts x0, eps or v to what every sampler takes: an estimate of x_0."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .parametrisation import Target, to_x0
from .schedules import Schedule

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (x_t [N, ...], t [] in [0, 1]) -> estimate of x_0 [N, ...]
Condition = dict[str, Tensor]  # name -> [N, ...]; empty: unconditional
ConditionalNetwork = Callable[[Tensor, Tensor, Condition], Tensor]  # (x_t, time input [N], condition) -> prediction
ConditionalDenoiser = Callable[[Tensor, Tensor, Condition], Tensor]  # (x_t, t [], condition) -> estimate of x_0


def make_denoiser(network: ConditionalNetwork, schedule: Schedule, target: Target) -> ConditionalDenoiser:
    """The network's prediction, told the schedule's time input, as x_0."""

    def denoise(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        time = schedule.time_input(t).to(x).expand(x.shape[0])
        return to_x0(target, network(x, time, condition).to(x), x, schedule.log_snr(t))

    return denoise


def conditioned(denoiser: ConditionalDenoiser, condition: Condition) -> Denoiser:
    """The denoiser under one condition: plain conditional sampling, unconditional where it is empty."""
    return lambda x, t: denoiser(x, t, condition)


def clipped(denoiser: Denoiser, bound: float = 1.0) -> Denoiser:
    """The estimate held in [-bound, bound], where images live (DDPM). Outermost: guidance combines unclipped estimates."""
    return lambda x, t: denoiser(x, t).clamp(-bound, bound)
