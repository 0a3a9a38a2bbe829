"""Guidance: towards a condition of the network's own (classifier-free), or of a noise-aware classifier."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .denoiser import Condition, ConditionalDenoiser, Denoiser
from .schedules import Schedule

Classifier = Callable[[Tensor, Tensor], Tensor]  # (x_t [N, ...], time input [N]) -> logits [N, K]


def check_scale(gamma: float) -> None:
    """ValueError for a guidance scale below 0."""
    if not gamma >= 0:
        raise ValueError(
            f"gamma: {gamma} is not allowed: at least 0 (0 ignores the condition, 1 follows it, above 1 is guided)"
        )


def classifier_free(
    denoiser: ConditionalDenoiser,
    condition: Condition,
    null: Condition,
    gamma: float,
    interval: tuple[float, float] | None = None,
) -> Denoiser:
    """gamma conditional + (1 - gamma) unconditional (Luo 2022, arXiv 2208.11970, eq. 187), in one forward of 2N images.

    gamma = 1 + w of Ho & Salimans. The weights sum to 1, so it is the same in x0, eps, v and score. ``null``: the keys of
    ``condition``, saying "none". gamma 0 and 1 need N images and are exactly the one and the other. ``interval``: the times
    within which gamma rules; outside it is 1 (Kynkäänniemi et al. 2024, arXiv 2404.07724).
    """
    check_scale(gamma)
    if condition.keys() != null.keys() or not condition:
        raise ValueError(f"guidance needs conditions with their nulls; got {sorted(condition)} and nulls {sorted(null)}")
    both = {key: torch.cat([condition[key], null[key]]) for key in condition}

    def guided(x: Tensor, t: Tensor) -> Tensor:
        outside = interval is not None and not interval[0] <= float(t) <= interval[1]
        if gamma == 1 or outside:
            return denoiser(x, t, condition)
        if gamma == 0:
            return denoiser(x, t, null)
        conditional, unconditional = denoiser(torch.cat([x, x]), t, both).chunk(2)
        return gamma * conditional + (1 - gamma) * unconditional

    return guided


def classifier_gradient(classifier: Classifier, label: Tensor, schedule: Schedule, gamma: float) -> Denoiser:
    """(x_t, t) -> gamma grad log p(label | x_t), [N, ...]; ``label``: int64 [N] (Dhariwal & Nichol 2021, arXiv 2105.05233)."""
    check_scale(gamma)

    def gradient(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            time = schedule.time_input(t).to(x).expand(x.shape[0])
            log_probability = -F.cross_entropy(classifier(x, time), label, reduction="sum")
            return gamma * torch.autograd.grad(log_probability, x)[0]

    return gradient


def classifier_guided(denoiser: Denoiser, gradient: Denoiser, schedule: Schedule) -> Denoiser:
    """For DDIM and the ODE samplers: eps - sigma gradient (their Algorithm 2), which moves x_0 by sigma^2 / alpha gradient.

    Ancestral sampling takes ``gradient`` itself and moves the mean.
    """

    def guided(x: Tensor, t: Tensor) -> Tensor:
        log_snr = schedule.log_snr(t).cpu()
        shift = (-log_snr).sigmoid() / log_snr.sigmoid().sqrt()
        return denoiser(x, t) + shift * gradient(x, t)

    return guided


def drop_conditions(condition: Condition, null: Condition, dropped: Tensor) -> Condition:
    """For training: where ``dropped`` (bool [N]) all conditions are replaced by their nulls, so one network learns both."""
    return {
        key: torch.where(dropped.to(value.device).view(-1, *[1] * (value.dim() - 1)), null[key], value)
        for key, value in condition.items()
    }
