"""Data N(m, s^2) a number: the exact denoiser is linear, so every sampler's end point and every bound is known."""

from collections.abc import Callable

from torch import Tensor

from components.diffusion.schedules import Schedule, alpha_sigma

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
