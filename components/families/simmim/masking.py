"""Masks of square cells, and the loss on the pixels below them (Xie et al. 2022, arXiv 2111.09886, sections 3.2 and 3.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-5  # added to the number of masked pixels, as in the authors' code


@dataclass(frozen=True)
class Cells:
    """``rows`` x ``columns`` cells of ``side`` pixels, of which ``masked`` are masked in every image."""

    rows: int
    columns: int
    side: int
    masked: int

    @classmethod
    def of(cls, size: tuple[int, int], side: int, ratio: float) -> Cells:
        """Divide an image of ``size``, (height, width), into cells. ValueError names the setting that does not fit."""
        if size[0] % side or size[1] % side:
            divisors = [str(number) for number in range(1, min(size) + 1) if size[0] % number == size[1] % number == 0]
            fault = f"train.mask_cell: {side} does not divide the image size {size[0]} x {size[1]}"
            raise ValueError(f"{fault}; allowed: {', '.join(divisors)}")
        rows, columns = size[0] // side, size[1] // side
        masked = math.ceil(ratio * rows * columns)
        if not 0 < masked < rows * columns:
            allowed = f"up to {1 - 1 / (rows * columns):.4g}" if rows * columns > 1 else "smaller cells (train.mask_cell)"
            fault = f"train.mask_ratio: {ratio} masks {masked} of {rows * columns} cells of {side} pixels"
            raise ValueError(f"{fault}; some must be masked and some seen: {allowed}")
        return cls(rows, columns, side, masked)

    @property
    def number(self) -> int:
        """Cells of an image."""
        return self.rows * self.columns

    def masks(self, uniform: Tensor) -> Tensor:
        """Mask the cells with the smallest numbers: [N, cells] -> float32 [N, rows, columns], 1 where masked.

        Independent numbers give one permutation per image, of which the first cells are masked.
        """
        chosen = uniform.argsort(dim=1)[:, : self.masked]
        flat = torch.zeros(uniform.shape, device=uniform.device).scatter_(1, chosen, 1.0)
        return flat.unflatten(1, (self.rows, self.columns))


def enlarged(mask: Tensor, factor: int) -> Tensor:
    """[N, rows, columns] -> [N, rows * factor, columns * factor]: every cell becomes a square of tokens or pixels."""
    return mask[:, :, None, :, None].repeat(1, 1, factor, 1, factor).flatten(3, 4).flatten(1, 2)


def masked_l1(image: Tensor, rebuilt: Tensor, mask: Tensor) -> Tensor:
    """sum |x - y| m / (sum m + 1e-5) / C: mean over the masked pixels of [N, C, H, W]; ``mask`` [N, H, W] is 1 at these."""
    difference = (image - rebuilt).abs() * mask[:, None]
    return difference.sum() / (mask.sum() + EPSILON) / image.shape[1]


def masked_l1_of_each(image: Tensor, rebuilt: Tensor, mask: Tensor) -> Tensor:
    """``masked_l1`` of every image: [N]."""
    difference = (image - rebuilt).abs() * mask[:, None]
    return difference.flatten(1).sum(1) / (mask.flatten(1).sum(1) + EPSILON) / image.shape[1]
