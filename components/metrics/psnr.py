"""Peak signal-to-noise ratio: arrays in, floats out."""

from __future__ import annotations

import numpy as np

PEAK = 255.0


def psnr(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two sets of images, uint8 [N, H, W, C] -> decibels float64 [N], 10 log10(255^2 / mean squared error); equal ones: inf."""
    if one.shape != other.shape:
        raise ValueError(f"images: shapes {list(one.shape)} and {list(other.shape)} are not the same")
    error = np.square(one.astype(np.float64) - other.astype(np.float64)).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(PEAK**2 / error)
