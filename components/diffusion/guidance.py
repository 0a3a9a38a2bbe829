"""Classifier-free guidance, and guidance by the gradient of a noise-aware classifier."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .conditions import Condition
from .model import ConditionalDenoiser, Denoiser
from .schedules import Schedule

Classifier = Callable[[Tensor, Tensor], Tensor]  # (x_t [N, ...], time input [N]) -> logits [N, K]


def check_scale(guidance_scale: float) -> None:
    """ValueError for a guidance scale below 0."""
    if not guidance_scale >= 0:
        meaning = "0 is unconditional, 1 conditional without guidance, above 1 is guided"
        raise ValueError(f"guidance_scale: {guidance_scale} is not allowed: at least 0 ({meaning})")


def classifier_free(
    denoiser: ConditionalDenoiser,
    condition: Condition,
    null: Condition,
    guidance_scale: float,
    interval: tuple[float, float] | None = None,
) -> Denoiser:
    """scale x conditional + (1 - scale) x unconditional (Luo 2022, arXiv 2208.11970, eq. 187), in one forward of 2N images.

    ``guidance_scale`` is 1 + w of Ho & Salimans (2022, arXiv 2207.12598). The weights sum to 1, so x0, eps, v and score are
    guided alike. ``null``: from ``null_of(condition)``. Scales 0 and 1 need N images and are exactly the unconditional and the
    conditional model. ``interval``: times with guidance; outside the scale is 1 (Kynkäänniemi et al. 2024, arXiv 2404.07724).
    """
    check_scale(guidance_scale)
    if condition.keys() != null.keys() or not condition:
        raise ValueError(f"guidance needs conditions with their nulls; got {sorted(condition)} and nulls {sorted(null)}")
    both = {key: torch.cat([condition[key], null[key]]) for key in condition}

    def guided(x: Tensor, t: Tensor) -> Tensor:
        outside = interval is not None and not interval[0] <= float(t) <= interval[1]
        if guidance_scale == 1 or outside:
            return denoiser(x, t, condition)
        if guidance_scale == 0:
            return denoiser(x, t, null)
        conditional, unconditional = denoiser(torch.cat([x, x]), t, both).chunk(2)
        return guidance_scale * conditional + (1 - guidance_scale) * unconditional

    return guided


def classifier_gradient(classifier: Classifier, label: Tensor, schedule: Schedule, guidance_scale: float) -> Denoiser:
    """(x_t, t) -> scale x grad log p(label | x_t), [N, ...]; label int64 [N] (Dhariwal & Nichol 2021, arXiv 2105.05233)."""
    check_scale(guidance_scale)

    def gradient(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            time = schedule.time_input(t).to(x).expand(x.shape[0])
            log_probability = -F.cross_entropy(classifier(x, time), label, reduction="sum")
            return guidance_scale * torch.autograd.grad(log_probability, x)[0]

    return gradient


def classifier_guided(denoiser: Denoiser, gradient: Denoiser, schedule: Schedule) -> Denoiser:
    """Guidance of DDIM and the ODE samplers: eps - sigma gradient (Algorithm 2), so x_0 moves by sigma^2 / alpha gradient.

    Ancestral sampling receives ``gradient`` itself and moves the mean.
    """

    def guided(x: Tensor, t: Tensor) -> Tensor:
        log_snr = schedule.log_snr(t).cpu()
        shift = (-log_snr).sigmoid() / log_snr.sigmoid().sqrt()
        return denoiser(x, t) + shift * gradient(x, t)

    return guided
