"""DiffAugment: differentiable augmentation of all that the discriminator sees (Zhao et al. 2020, arXiv 2006.10738)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NUMBERS = 7  # random numbers per image
SHIFT, HOLE = 1 / 8, 1 / 2  # of the side: largest translation, side of the cut square


def diff_augment(image: Tensor, policy: Sequence[str], numbers: Tensor) -> Tensor:
    """Change brightness, saturation and contrast; shift with zeros; cut a square out. image [N, C, H, W] -> the same.

    ``policy``: any of "color", "translation", "cutout"; ``numbers`` [N, 7] from U[0, 1) decide all of it.
    """
    if "color" in policy:
        image = colour(image, numbers[:, :3])
    if "translation" in policy:
        image = translate(image, numbers[:, 3:5])
    return cut(image, numbers[:, 5:7]) if "cutout" in policy else image


def colour(image: Tensor, numbers: Tensor) -> Tensor:
    """Brightness by -0.5 to 0.5, saturation 0 to 2 times, contrast 0.5 to 1.5 times; ``numbers`` [N, 3]."""
    brightness, saturation, contrast = numbers.to(image)[:, :, None, None, None].unbind(1)
    image = image + (brightness - 0.5)
    grey = image.mean(1, keepdim=True)
    image = torch.lerp(grey, image, 2 * saturation)
    mean = image.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, image, contrast + 0.5)


def translate(image: Tensor, numbers: Tensor) -> Tensor:
    """Shift rows and columns by whole pixels, up to an eighth of the side; what comes in is 0. ``numbers`` [N, 2]."""
    _, _, height, width = image.shape
    down, right = (shifts(numbers[:, axis], size) for axis, size in ((0, height), (1, width)))
    rows, columns = (
        torch.arange(size, device=image.device)[None] - shift[:, None] for size, shift in ((height, down), (width, right))
    )
    inside = inside_of(rows, height)[:, None, :, None] & inside_of(columns, width)[:, None, None, :]
    batch = torch.arange(len(image), device=image.device)[:, None, None]
    moved = image.permute(0, 2, 3, 1)[batch, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return moved.permute(0, 3, 1, 2) * inside


def shifts(numbers: Tensor, size: int) -> Tensor:
    """U[0, 1) [N] -> whole pixels int64 [N], every value from -limit to limit equally likely."""
    limit = int(size * SHIFT + 0.5)
    return (numbers * (2 * limit + 1)).long() - limit


def inside_of(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


def cut(image: Tensor, numbers: Tensor) -> Tensor:
    """Set a square of half the side to 0, which may lie partly outside; ``numbers`` [N, 2] place it."""
    _, _, height, width = image.shape
    hit = []
    for axis, size in ((0, height), (1, width)):
        side = int(size * HOLE + 0.5)
        first = (numbers[:, axis] * (size + 1 - side % 2)).long() - side // 2
        index = torch.arange(size, device=image.device)[None]
        hit.append((index >= first[:, None]) & (index < first[:, None] + side))
    rows, columns = hit
    return image * ~(rows[:, None, :, None] & columns[:, None, None, :])
