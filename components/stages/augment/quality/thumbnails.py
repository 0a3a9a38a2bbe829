"""Thumbnails by exact integer arithmetic, so that every machine finds the same duplicates and faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

SIDE = 16  # pixels of ``small``
GREY_SIDE = 32  # pixels of ``grey``
WHITE = 2040  # of ``grey``: luma of ITU-R BT.601 in eighths of a level
CHUNK = 2**23  # bytes of images at once


@dataclass(frozen=True)
class Thumbnails:
    """``small`` uint8 [N, 16, 16, C] and ``grey`` int16 [N, 32, 32] in 0..2040: means of the regions, rounded down."""

    small: np.ndarray
    grey: np.ndarray

    @property
    def sums(self) -> np.ndarray:
        """int64 [N]: sum of all levels of ``small``."""
        total: np.ndarray = self.small.reshape(len(self.small), -1).sum(axis=1, dtype=np.int64)
        return total

    @property
    def scatter(self) -> np.ndarray:
        """int64 [N]: variance of the D levels of ``small``, times D^2."""
        flat = self.small.reshape(len(self.small), -1)
        squares = np.zeros(len(flat), dtype=np.int64)
        for start in range(0, len(flat), 4096):
            levels = flat[start : start + 4096].astype(np.int64)
            squares[start : start + 4096] = np.einsum("ij,ij->i", levels, levels)
        return flat.shape[1] * squares - self.sums**2


def thumbnails(images: np.ndarray) -> Thumbnails:
    """Reduce (or repeat pixels of) ``image`` uint8 [N, H, W, C]; it may be memory mapped."""
    small = np.zeros((len(images), SIDE, SIDE, images.shape[3]), dtype=np.uint8)
    grey = np.zeros((len(images), GREY_SIDE, GREY_SIDE), dtype=np.int16)
    for part in _chunks(images):
        levels = images[part].astype(np.int32)
        small[part] = box_means(levels, SIDE)
        luma = levels[..., 0] * 8 if levels.shape[3] == 1 else levels @ np.array([299, 587, 114], dtype=np.int32) // 125
        grey[part] = box_means(luma, GREY_SIDE)
    return Thumbnails(small, grey)


def box_means(levels: np.ndarray, side: int) -> np.ndarray:
    """Average int32 [n, H, W, ...] over side x side regions, rounded down; a side that is shorter repeats its pixels."""
    count: Any = 1
    for axis in (1, 2):
        length = levels.shape[axis]
        starts = np.arange(side) * length // side
        if length <= side:
            levels = levels.take(starts, axis=axis) if length < side else levels
            continue
        levels = np.add.reduceat(levels, starts, axis=axis)
        sizes = np.diff(np.append(starts, length))
        count = count * sizes.reshape([-1 if other == axis else 1 for other in range(levels.ndim)])
    return levels // count


def _chunks(images: np.ndarray) -> Iterator[slice]:
    step = max(1, CHUNK // images[:1].nbytes) if len(images) else 1
    for start in range(0, len(images), step):
        yield slice(start, start + step)
