"""Input checks of a served model: images are uint8 [N, H, W, C] in 0..255; ValueError for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def as_pixels(image: Any, image_size: int | Sequence[int], channels: int, name: str = "image") -> np.ndarray:
    """Check the input ``name``; return it as uint8 [N, H, W, channels]. ``image_size``: side or (height, width)."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    array = np.asarray(image)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: numbers (uint8) are expected, found {array.dtype}")
    if array.ndim != 4 or array.shape[1:] != (height, width, channels):
        raise ValueError(f"{name}: the shape must be [N, {height}, {width}, {channels}], found {list(array.shape)}")
    if array.dtype == np.uint8:
        return array
    if not np.all((array >= 0) & (array <= 255) & (array == np.floor(array))):  # NaN fails too
        actual = f"{array.min()} to {array.max()} ({array.dtype})"
        raise ValueError(f"{name}: whole numbers from 0 to 255 are expected, found {actual}")
    return array.astype(np.uint8)


def as_labels(label: Any, number: int, classes: Sequence[str]) -> np.ndarray:
    """Check ``label``; return it as int64 [number], indices of ``classes``."""
    array = np.asarray(label)
    if array.shape != (number,) or array.dtype.kind not in "iu" or not np.all((array >= 0) & (array < len(classes))):
        raise ValueError(f"label: {number} whole numbers from 0 to {len(classes) - 1} are expected, found {label!r}")
    return array.astype(np.int64)


def to_unit_range(pixels: np.ndarray) -> np.ndarray:
    """Scale as in training: uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1]."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1))


def from_unit_range(image: np.ndarray) -> np.ndarray:
    """Scale back: float [N, C, H, W], clipped to [-1, 1] -> uint8 [N, H, W, C]."""
    return np.round((image.clip(-1, 1).transpose(0, 2, 3, 1) + 1) * 127.5).astype(np.uint8)
