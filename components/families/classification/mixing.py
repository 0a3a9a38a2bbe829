"""Augmentation of whole batches on the device: mixup and CutMix, and random erasing.

All draws are functions of (seed, step, place in the global batch): a resumed training and N processes draw the same.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from components.core.runtime import mix
from components.core.step import opposite, processes

if TYPE_CHECKING:
    from components.families.classification.settings import ErasingSettings, MixingSettings

Box = tuple[int, int, int, int]  # top, bottom, left, right in pixels


@dataclass(frozen=True)
class Mixture:
    """How a batch is mixed: ``share`` [1 or n], lambda of each image; ``boxes`` int64 [1 or n, 4], empty for mixup.

    ``idle``: no image of the global batch changes, so that no process asks another for images.
    """

    share: np.ndarray
    boxes: np.ndarray
    idle: bool

    def image(self, image: Tensor) -> Tensor:
        """Mix float32 [n, C, H, W] with its partners: lambda x + (1 - lambda) x', or the partner's pixels inside the box."""
        if self.idle:
            return image
        if len(self.share) > 1:
            return torch.lerp(opposite(image), image, self._weight(image))
        top, bottom, left, right = self.boxes[0].tolist()
        if bottom == top:
            return opposite(image).lerp_(image, float(self.share[0]))
        mixed = image.clone()
        mixed[:, :, top:bottom, left:right] = opposite(image[:, :, top:bottom, left:right])
        return mixed

    def target(self, target: Tensor) -> Tensor:
        """Mix float32 [n, K] as the images: lambda y + (1 - lambda) y'."""
        return target if self.idle else torch.lerp(opposite(target), target, _to(self.share, target).view(-1, 1))

    def _weight(self, image: Tensor) -> Tensor:
        """Return the weight of the image itself, [1 or n, 1, 1 or H, 1 or W]."""
        cut = self.boxes[:, 1] > self.boxes[:, 0]
        share = _to(np.where(cut, 1, self.share), image).view(-1, 1, 1, 1)
        if not cut.any():
            return share
        rows, columns = (torch.arange(size, device=image.device) for size in image.shape[2:])
        top, bottom, left, right = (part.view(-1, 1) for part in _to(self.boxes, rows).unbind(1))
        inside_rows, inside_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
        return torch.where(inside, 0.0, share)


def draw_mixture(settings: MixingSettings, image: Tensor, *, seed: int, step: int) -> Mixture:
    """Draw the mixture of this process's ``image`` [n, C, H, W], its share of the global batch, for one step."""
    rank, world = processes()
    mine, whole = len(image), len(image) * world
    number = {"batch": 1, "pair": whole // 2, "elem": whole}[settings.mode]
    source = np.random.Generator(np.random.PCG64(mix(seed, "mixing", step)))
    share, cuts = _shares(settings, source, number)
    share, boxes = _cut(share, cuts, source, *image.shape[2:])
    idle = bool((share == 1).all())
    if settings.mode == "batch":
        return Mixture(share, boxes, idle)
    if settings.mode == "pair":
        share, boxes = np.concatenate([share, share[::-1]]), np.concatenate([boxes, boxes[::-1]])
    rows = slice(rank * mine, (rank + 1) * mine)
    return Mixture(share[rows], boxes[rows], idle)


def _shares(settings: MixingSettings, source: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw (lambda, whether it is of CutMix) of ``number`` mixtures; lambda is 1 for those that are skipped."""
    mixed, switch = source.random(number) < settings.prob, source.random(number) < settings.switch_prob
    cuts = switch if settings.mixup_alpha and settings.cutmix_alpha else np.full(number, settings.cutmix_alpha > 0)
    alphas = (settings.mixup_alpha, settings.cutmix_alpha)
    mixup, cutmix = (source.beta(alpha, alpha, number) if alpha else np.ones(number) for alpha in alphas)
    share = np.where(mixed, np.where(cuts, cutmix, mixup), 1.0)
    return share, cuts & mixed


def _cut(
    share: np.ndarray, cuts: np.ndarray, source: np.random.Generator, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the boxes of CutMix: sides sqrt(1 - lambda) of the image's, uniform centres, clipped at the borders.

    Returns (share, boxes): lambda is computed anew from the clipped area. Boxes of mixup are empty.
    """
    side = np.sqrt(1 - share)
    spans = []
    for size in (height, width):
        length, centre = (size * side).astype(np.int64), source.integers(0, size, len(share))
        spans += [np.clip(centre - length // 2, 0, size), np.clip(centre + (length + 1) // 2, 0, size)]
    boxes = np.stack(spans, axis=1) * cuts[:, None]
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return np.where(cuts, 1 - area / (height * width), share), boxes


def erase(image: Tensor, settings: ErasingSettings, mean: Tensor, std: Tensor, *, seed: int, step: int) -> Tensor:
    """Erase rectangles of float32 [n, C, H, W], not in place. ``mean``, ``std`` [1, C, 1, 1]: of the standardisation.

    The image is not standardised yet: z std + mean is what the network sees as z.
    """
    first, (height, width) = processes()[0] * len(image), image.shape[2:]
    erased = image.clone()
    for row in range(len(image)):
        source = random.Random(mix(seed, "erasing", step, first + row))  # noqa: S311
        box = erased_box(settings, source, height, width)
        if box is not None:
            top, bottom, left, right = box
            shape = (image.shape[1], bottom - top, right - left)
            erased[row, :, top:bottom, left:right] = _filling(settings, source, shape, image.device) * std[0] + mean[0]
    return erased


def erased_box(settings: ErasingSettings, source: random.Random, height: int, width: int) -> Box | None:
    """Draw the rectangle, strictly smaller than the image; None if there is none (``probability``, ``attempts``)."""
    if source.random() >= settings.probability:
        return None
    low, high = (math.log(aspect) for aspect in settings.aspect)
    for _ in range(settings.attempts):
        area = source.uniform(*settings.area) * height * width
        aspect = math.exp(source.uniform(low, high))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if rows < height and columns < width:
            top, left = source.randint(0, height - rows), source.randint(0, width - columns)
            return top, top + rows, left, left + columns
    return None


def _filling(settings: ErasingSettings, source: random.Random, shape: tuple[int, ...], device: torch.device) -> Tensor:
    if settings.mode == "const":
        return torch.zeros(shape, device=device)
    generator = torch.Generator(device).manual_seed(source.getrandbits(62))
    return torch.randn(shape, generator=generator, device=device)


def _to(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device, like.dtype, non_blocking=True)
