"""Metrics of single images: peak signal-to-noise ratio, bits per dimension."""

from __future__ import annotations

import math

import numpy as np

PEAK = 255.0
MAX_PSNR = 100.0  # decibels


def psnr(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """PSNR of two sets of images, uint8 [N, H, W, C] -> decibels float64 [N], 10 log10(255^2 / mean squared error).

    At most MAX_PSNR, the value of equal images: their infinity would make every mean infinite, and JSON has none. A difference
    of one level in one of 150,000 values is below it.
    """
    if one.shape != other.shape:
        raise ValueError(f"images: shapes {list(one.shape)} and {list(other.shape)} are not the same")
    error = np.square(one.astype(np.float64) - other.astype(np.float64)).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(PEAK**2 / error), MAX_PSNR)


def bits_per_dimension(nats: np.ndarray, dimensions: int) -> np.ndarray:
    """Negative log-likelihoods, nats [N], of images of ``dimensions`` = C H W values each -> bits per value [N]."""
    return nats / (dimensions * math.log(2))
