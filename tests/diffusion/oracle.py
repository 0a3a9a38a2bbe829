"""Data N(m, s^2) per number: the exact denoiser is linear, so every sampler's end point and every bound is known."""

from collections.abc import Callable
from typing import get_args

from torch import Tensor

from components.diffusion.parametrisation import Target, make_target, to_x0
from components.diffusion.schedules import Schedule, alpha_sigma

TARGETS: tuple[Target, ...] = get_args(Target)
MEAN, STD = 0.3, 0.5


def exact_x0(x: Tensor, log_snr: Tensor) -> Tensor:
    """E[x_0 | x_t]."""
    alpha, sigma = alpha_sigma(log_snr, x)
    return MEAN + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)


def denoiser(schedule: Schedule) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, t: exact_x0(x, schedule.log_snr(t))


def marginal(z: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
    """x_t from standard normal z."""
    alpha, sigma = alpha_sigma(schedule.log_snr(t), z)
    return alpha * MEAN + (alpha**2 * STD**2 + sigma**2).sqrt() * z


def ode_end(x: Tensor, schedule: Schedule, times: Tensor) -> Tensor:
    """Where the probability flow ODE takes x: it keeps (x - mean of x_t) / std of x_t."""
    alpha, sigma = alpha_sigma(schedule.log_snr(times[0]), x)
    return marginal((x - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2).sqrt(), schedule, times[-1])


def to_eps(target: Target, prediction: Tensor, x: Tensor, log_snr: Tensor) -> Tensor:
    """Convert a prediction at x = x_t to eps; log SNR must be finite for x0 (at sigma = 0 there is no noise)."""
    if target == "eps":
        return prediction
    alpha, sigma = alpha_sigma(log_snr, x)
    if target == "x0":
        return (x - alpha * prediction) / sigma
    return sigma * x + alpha * prediction


def to_v(target: Target, prediction: Tensor, x: Tensor, log_snr: Tensor) -> Tensor:
    """Convert a prediction at x = x_t to v = alpha eps - sigma x0."""
    if target == "v":
        return prediction
    x0, eps = to_x0(target, prediction, x, log_snr), to_eps(target, prediction, x, log_snr)
    return make_target("v", x0, eps, log_snr)


def to_score(target: Target, prediction: Tensor, x: Tensor, log_snr: Tensor) -> Tensor:
    """grad log p(x_t) = -eps / sigma (Luo 2022, arXiv 2208.11970, eq. 151)."""
    return -to_eps(target, prediction, x, log_snr) / alpha_sigma(log_snr, x)[1]
