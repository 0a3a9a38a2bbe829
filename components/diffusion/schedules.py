"""Noise schedules: log SNR(t) in float64 for t in [0, 1], and alpha, sigma from it.

Discrete: DDPM's tables (Ho et al. 2020, arXiv 2006.11239) and the cosine of Nichol & Dhariwal (2021, arXiv 2102.09672).
Continuous: their limits, and VDM's fixed or learned line (Kingma et al. 2021, arXiv 2107.00630, appendix H).
"""

from __future__ import annotations

import math
from typing import Literal, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ScheduleName = Literal["linear", "cosine", "vdm_fixed", "vdm_learned"]
NAMES: tuple[ScheduleName, ...] = get_args(ScheduleName)

LINEAR_BETAS = (1e-4, 0.02)  # of 1,000 steps
COSINE_OFFSET = 0.008
GAMMA_RANGE = (-13.3, 5.0)  # VDM's -log SNR at t = 0 and t = 1
LOWEST_LOG_SNR = -20.0  # of the continuous cosine, which would reach minus infinity at t = 1
EARLIEST = 1e-5  # continuous linear and cosine have no noise at t = 0: their log SNR there is 13.8 and 14.7


class Schedule(Protocol):
    """``num_steps``: T, if the network is trained at the times i / T, i = 1..T; None in continuous time.

    ``start``: the earliest time with noise. If it is above 0, log SNR(0) is infinite: x_0 itself.
    """

    @property
    def num_steps(self) -> int | None: ...

    @property
    def start(self) -> float: ...

    def log_snr(self, t: Tensor) -> Tensor:
        """[...] in [0, 1] -> float64 [...], strictly falling."""
        ...

    def time_input(self, t: Tensor) -> Tensor:
        """[...] in [0, 1] -> float64 [...], the time input of the network, on the scale 0..1000 of published checkpoints."""
        ...


def alpha_sigma(log_snr: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Log SNR [] or [N] -> (alpha, sigma), computed in float64, then shaped [1..] or [N, 1, ..] and typed like x [N, ...]."""
    shaped = log_snr.double().reshape(-1, *[1] * (x.dim() - 1))
    return shaped.sigmoid().sqrt().to(x), (-shaped).sigmoid().sqrt().to(x)


class Discrete(nn.Module):
    """A table beta_1..beta_T (float64 [T], each in (0, 1)); time i / T is step i.

    Between the steps log(alpha^2) is interpolated (as DPM-Solver does; Lu et al. 2022, arXiv 2206.00927, appendix D.4).
    """

    log_alpha2: Tensor

    def __init__(self, betas: Tensor):
        super().__init__()
        assert betas.dtype == torch.float64
        self.num_steps: int | None = len(betas)
        self.start = 1 / len(betas)
        cumulated = F.pad(torch.log1p(-betas).cumsum(0), (1, 0))  # [T + 1], 0 at t = 0
        self.register_buffer("log_alpha2", cumulated, persistent=False)

    def log_snr(self, t: Tensor) -> Tensor:
        last = len(self.log_alpha2) - 1
        place = t.to(self.log_alpha2) * last
        below = place.floor().clamp(0, last - 1).long()
        log_alpha2 = torch.lerp(self.log_alpha2[below], self.log_alpha2[below + 1], place - below)
        return _log_snr(log_alpha2)

    def time_input(self, t: Tensor) -> Tensor:
        """Step i becomes (i - 1) 1000 / T: 0..999 for T = 1,000, as in published checkpoints."""
        return t.double() * 1000 - 1000 * self.start


class ContinuousLinear(nn.Module):
    """beta(t) linear: the limit of DDPM's table (Song et al. 2021, arXiv 2011.13456, eq. 33)."""

    num_steps: int | None = None
    start = EARLIEST

    def log_snr(self, t: Tensor) -> Tensor:
        low, high = (1000 * beta for beta in LINEAR_BETAS)
        t = t.double()
        return _log_snr(-(low * t + (high - low) * t.square() / 2))

    def time_input(self, t: Tensor) -> Tensor:
        return t.double() * 1000


class ContinuousCosine(nn.Module):
    """alpha_t^2 = cos^2((t + .008) / 1.008 pi / 2), scaled to 1 at t = 0; t shrinks by 3e-5 so that log SNR(1) is -20."""

    num_steps: int | None = None
    start = EARLIEST

    def log_snr(self, t: Tensor) -> Tensor:
        first = COSINE_OFFSET / (1 + COSINE_OFFSET) * math.pi / 2
        last = math.acos(math.cos(first) * math.sqrt(1 / (1 + math.exp(-LOWEST_LOG_SNR))))
        angle = first + (last - first) * t.double()
        return _log_snr(2 * (angle.cos().log() - math.log(math.cos(first))))

    def time_input(self, t: Tensor) -> Tensor:
        return t.double() * 1000


class Line(nn.Module):
    """VDM's gamma(t) = -log SNR(t), a line from gamma(0) = -13.3 to gamma(1) = 5; ``learned``: its two numbers are parameters.

    The learned line is b + |w| t, hence monotone (VDM's "learnable scalar"). The network receives gamma(t), not t.
    """

    start = 0.0

    def __init__(self, num_steps: int | None = None, learned: bool = False, gamma_range: tuple[float, float] = GAMMA_RANGE):
        super().__init__()
        self.num_steps = num_steps
        self.gamma_range = gamma_range
        self.intercept = nn.Parameter(torch.tensor(gamma_range[0]), requires_grad=learned)
        self.slope = nn.Parameter(torch.tensor(gamma_range[1] - gamma_range[0]), requires_grad=learned)

    def log_snr(self, t: Tensor) -> Tensor:
        return -(self.intercept.double() + self.slope.double().abs() * t.to(self.slope.device, torch.float64))

    def time_input(self, t: Tensor) -> Tensor:
        low, high = self.gamma_range
        return 1000 * (-self.log_snr(t) - low) / (high - low)


def make_schedule(name: str, num_steps: int | None) -> ContinuousCosine | ContinuousLinear | Discrete | Line:
    """Make a schedule, an ``nn.Module``, by name; ``num_steps``: T, or None for continuous time."""
    if num_steps is not None and num_steps < 1:
        raise ValueError(f"num_steps: {num_steps} is not allowed: at least 1, or none for continuous time")
    if name == "linear":
        return ContinuousLinear() if num_steps is None else Discrete(linear_betas(num_steps))
    if name == "cosine":
        return ContinuousCosine() if num_steps is None else Discrete(cosine_betas(num_steps))
    if name in ("vdm_fixed", "vdm_learned"):
        return Line(num_steps, learned=name == "vdm_learned")
    raise ValueError(f"schedule: {name!r} is not allowed: {', '.join(NAMES)}")


def linear_betas(num_steps: int) -> Tensor:
    """float64 [T]: 1e-4 to 0.02, scaled by 1000 / T so that T changes the resolution, not the amount of noise."""
    low, high = (beta * 1000 / num_steps for beta in LINEAR_BETAS)
    if high >= 1:
        least = int(LINEAR_BETAS[1] * 1000) + 1
        raise ValueError(f"num_steps: {num_steps} is not allowed with the linear schedule: at least {least}")
    return torch.linspace(low, high, num_steps, dtype=torch.float64)


def cosine_betas(num_steps: int) -> Tensor:
    """float64 [T]: beta_i = 1 - f(i / T) / f((i - 1) / T), at most 0.999 (Nichol & Dhariwal, eq. 17)."""
    if num_steps < 1:
        raise ValueError(f"num_steps: {num_steps} is not allowed: at least 1")
    t = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    f = ((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2).cos().square()
    return (1 - f[1:] / f[:-1]).clamp(max=0.999)


def _log_snr(log_alpha2: Tensor) -> Tensor:
    """log(a / (1 - a)) from log a; infinite at a = 1. Rounding must not exceed a = 1."""
    log_alpha2 = log_alpha2.clamp(max=0.0)
    return log_alpha2 - torch.log(-torch.expm1(log_alpha2))
