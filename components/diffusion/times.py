"""Time grids of samplers, from noise (t = 1) down to data (t = 0)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .schedules import Schedule

Spacing = Literal["uniform", "quadratic", "log_snr", "karras"]
SPACINGS: tuple[Spacing, ...] = ("uniform", "quadratic", "log_snr", "karras")
LARGEST_RATIO = 80.0  # sigma / alpha where "log_snr" and "karras" begin at the latest (Karras et al. 2022, Table 1)
RHO = 7.0  # of the same table


def time_grid(schedule: Schedule, steps: int, spacing: Spacing = "uniform") -> Tensor:
    """Times for ``steps`` steps of a sampler: float64 [steps + 1] on the CPU, strictly decreasing, the last 0.

    "uniform" and "quadratic" (DDIM, appendix D.2) are in t and snap to a discrete schedule's steps; "log_snr" is even in log
    SNR (DPM-Solver++), "karras" even in (sigma / alpha)^(1/7) (EDM, eq. 5). If log SNR(0) is infinite the last two are
    even down to ``schedule.start`` and the last step goes from there to 0. ValueError for more steps than the schedule has.
    """
    most = schedule.num_steps
    if steps < 1 or (most is not None and steps > most):
        allowed = "at least 1" if most is None else f"1 to the schedule's {most}"
        raise ValueError(f"steps: {steps} is not allowed: {allowed}")
    if spacing not in SPACINGS:
        raise ValueError(f"spacing: {spacing!r} is not allowed: {', '.join(SPACINGS)}")
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    if spacing == "uniform":
        return even if most is None else _snapped(even, most)
    if spacing == "quadratic":
        return even.square() if most is None else _snapped(even.square(), most)
    return _in_log_snr(schedule, steps, spacing)


def _snapped(times: Tensor, num_steps: int) -> Tensor:
    """Round to distinct i / T: the i-th time from the end is at least step i, so that no step occurs twice."""
    least = torch.arange(len(times) - 1, -1, -1, dtype=torch.float64)
    return torch.maximum((times * num_steps).round(), least) / num_steps


def _in_log_snr(schedule: Schedule, steps: int, spacing: Spacing) -> Tensor:
    last_is_clean = schedule.start > 0
    ends = schedule.log_snr(torch.tensor([1.0, schedule.start], dtype=torch.float64)).detach().cpu()
    ratios = (-ends / 2).exp().clamp(max=LARGEST_RATIO)  # sigma / alpha
    even = torch.linspace(0, 1, steps if last_is_clean else steps + 1, dtype=torch.float64)
    if spacing == "log_snr":
        ratio = torch.lerp(ratios[0].log(), ratios[1].log(), even).exp()
    else:
        ratio = torch.lerp(ratios[0] ** (1 / RHO), ratios[1] ** (1 / RHO), even) ** RHO
    times = time_of(schedule, -2 * ratio.log())
    return torch.cat([times, times.new_zeros(1)]) if last_is_clean else torch.cat([times[:-1], times.new_zeros(1)])


def time_of(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """The inverse of ``schedule.log_snr``, by bisection to float64's resolution: [...] -> float64 [...] on the CPU."""
    low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
    for _ in range(60):
        middle = (low + high) / 2
        noisier = schedule.log_snr(middle).detach().cpu() < log_snr
        low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
    return high
