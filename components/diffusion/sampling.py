"""From a request to images: the sampler, its times, guidance and clipping put together; one image is one stream of noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .conditional_model import ConditionalModel
from .conditions import null_of
from .denoiser import Condition, Denoiser, clipped, conditioned
from .guidance import Classifier, check_scale, classifier_free, classifier_gradient, classifier_guided
from .noise import normal_like
from .samplers import EVALUATIONS, SAMPLERS, SPACING
from .schedules import Schedule
from .times import time_grid


@dataclass(frozen=True)
class Manner:
    """How to sample. ``gamma`` rules at times within ``interval``, 1 outside; ``eta`` is DDIM's; ``clip``: x_0 in [-1, 1]."""

    sampler: str = "dpm_solver_2m"
    steps: int = 20
    gamma: float = 1.0
    eta: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)
    clip: bool = True

    def check(self, schedule: Schedule) -> None:
        """ValueError for what no schedule, or not this one, allows."""
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler: {self.sampler!r} is not allowed: {', '.join(SAMPLERS)}")
        check_scale(self.gamma)
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta: {self.eta} is not allowed: from 0 (no noise) to 1 (as ancestral sampling)")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta: {self.eta} is of the sampler ddim, not of {self.sampler}")
        if not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise ValueError(f"interval: {self.interval} is not allowed: two rising numbers from 0 (data) to 1 (noise)")
        time_grid(schedule, self.steps, SPACING[self.sampler])

    def evaluations(self, schedule: Schedule) -> int:
        """Of the denoiser for one image; guidance makes each twice as large."""
        to_infinity = schedule.start > 0
        return self.steps * EVALUATIONS[self.sampler] - (self.sampler == "heun" and to_infinity)


@dataclass(frozen=True)
class Guide:
    """A noise-aware classifier (x_t, time input) -> logits, and the class of each image, int64 [N]."""

    classifier: Classifier
    label: Tensor

    def gradient(self, schedule: Schedule, manner: Manner) -> Denoiser:
        """gamma grad log p(label | x_t), 0 outside the interval."""
        gradient, (low, high) = classifier_gradient(self.classifier, self.label, schedule, manner.gamma), manner.interval
        return lambda x, t: gradient(x, t) if low <= float(t) <= high else torch.zeros_like(x)


@torch.no_grad()
def draw_images(
    model: ConditionalModel,
    shape: tuple[int, ...],
    condition: Condition,
    manner: Manner,
    generators: Sequence[torch.Generator],
    *,
    guide: Guide | None = None,
) -> Tensor:
    """Samples [N, C, H, W] of ``shape``, image i by generator i; guided by ``guide``, or else without a classifier.

    ``condition``: of N images, on the model's device; {} for none.
    """
    schedule = model.schedule
    manner.check(schedule)
    device = next(model.parameters()).device
    times = time_grid(schedule, manner.steps, SPACING[manner.sampler])
    x = normal_like(torch.empty(shape, device=device), generators)
    denoiser = free_or_plain(model, condition, manner, guide is not None)
    options: dict[str, Any] = {}
    if manner.sampler == "ddim":
        options["eta"] = manner.eta
    if guide is not None and manner.sampler == "ancestral":
        options["gradient"] = guide.gradient(schedule, manner)
    elif guide is not None:
        denoiser = classifier_guided(denoiser, guide.gradient(schedule, manner), schedule)
    denoiser = clipped(denoiser) if manner.clip else denoiser
    return SAMPLERS[manner.sampler](denoiser, x, schedule, times, generators, **options)


def free_or_plain(model: ConditionalModel, condition: Condition, manner: Manner, guided: bool) -> Denoiser:
    """The denoiser under its condition; with classifier-free guidance where gamma is not 1 and no classifier guides."""
    denoiser = model.denoiser()
    if guided or manner.gamma == 1:
        return conditioned(denoiser, condition)
    return classifier_free(denoiser, condition, null_of(condition), manner.gamma, manner.interval)
