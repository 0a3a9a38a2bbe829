"""Draw images: sampler, times, guidance and clipping put together; each image has a noise generator of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .conditions import Condition, null_of
from .guidance import Classifier, check_scale, classifier_free, classifier_gradient, classifier_guided
from .model import ConditionalModel, Denoiser, clipped, conditioned
from .samplers import EVALUATIONS, SAMPLERS, SPACING, normal_like
from .schedules import Schedule
from .times import time_grid


@dataclass(frozen=True)
class SamplerOptions:
    """``guidance_scale`` holds at times within ``interval``, 1 outside; ``eta``: of DDIM; ``clip`` estimates to [-1, 1]."""

    sampler: str = "dpm_solver_2m"
    steps: int = 20
    guidance_scale: float = 1.0
    eta: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)
    clip: bool = True

    def check(self, schedule: Schedule) -> None:
        """ValueError for options that are out of range, or more steps than ``schedule`` has."""
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler: {self.sampler!r} is not allowed: {', '.join(SAMPLERS)}")
        check_scale(self.guidance_scale)
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta: {self.eta} is not allowed: from 0 (no noise) to 1 (as ancestral sampling)")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta: {self.eta} is of the sampler ddim, not of {self.sampler}")
        if not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise ValueError(f"interval: {self.interval} is not allowed: two rising numbers from 0 (data) to 1 (noise)")
        time_grid(schedule, self.steps, SPACING[self.sampler])

    def evaluations(self, schedule: Schedule) -> int:
        """Evaluations of the denoiser per image; classifier-free guidance needs two forwards for each."""
        to_infinity = schedule.start > 0
        return self.steps * EVALUATIONS[self.sampler] - (self.sampler == "heun" and to_infinity)


@dataclass(frozen=True)
class Guide:
    """A noise-aware classifier (x_t, time input) -> logits, and the class of each image, int64 [N]."""

    classifier: Classifier
    label: Tensor

    def gradient(self, schedule: Schedule, options: SamplerOptions) -> Denoiser:
        """Return (x_t, t) -> scale x grad log p(label | x_t), 0 outside the interval."""
        gradient = classifier_gradient(self.classifier, self.label, schedule, options.guidance_scale)
        low, high = options.interval
        return lambda x, t: gradient(x, t) if low <= float(t) <= high else torch.zeros_like(x)


@torch.no_grad()
def draw_images(
    model: ConditionalModel,
    shape: tuple[int, ...],
    condition: Condition,
    options: SamplerOptions,
    generators: Sequence[torch.Generator],
    *,
    guide: Guide | None = None,
) -> Tensor:
    """Draw samples [N, C, H, W] of ``shape``, image i with generator i, guided by the classifier of ``guide`` if given.

    ``condition``: of N images, on the model's device; {} for none.
    """
    schedule = model.schedule
    options.check(schedule)
    device = next(model.parameters()).device
    times = time_grid(schedule, options.steps, SPACING[options.sampler])
    x = normal_like(torch.empty(shape, device=device), generators)
    denoiser = conditional_denoiser(model, condition, options, guide is not None)
    extra: dict[str, Any] = {}
    if options.sampler == "ddim":
        extra["eta"] = options.eta
    if guide is not None and options.sampler == "ancestral":
        extra["gradient"] = guide.gradient(schedule, options)
    elif guide is not None:
        denoiser = classifier_guided(denoiser, guide.gradient(schedule, options), schedule)
    denoiser = clipped(denoiser) if options.clip else denoiser
    return SAMPLERS[options.sampler](denoiser, x, schedule, times, generators, **extra)


def conditional_denoiser(model: ConditionalModel, condition: Condition, options: SamplerOptions, guided: bool) -> Denoiser:
    """The denoiser under its condition; classifier-free guidance if the scale is not 1 and no classifier guides."""
    denoiser = model.denoiser()
    if guided or options.guidance_scale == 1:
        return conditioned(denoiser, condition)
    return classifier_free(denoiser, condition, null_of(condition), options.guidance_scale, options.interval)
