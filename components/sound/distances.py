"""Distances between two sounds: of signals, of amplitudes, and of what is said (cepstra, aligned in time)."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

CEPSTRA = 13  # c_1 to c_13; c_0, the loudness, is left out


def spectral_convergence(target: np.ndarray, found: np.ndarray) -> float:
    """|| |S| - |S'| || / || |S| || in Frobenius' norm (Arik et al. 2018, arXiv 1808.06719, eq. 2); amplitudes [T, F]."""
    return float(np.linalg.norm(target - found) / max(float(np.linalg.norm(target)), 1e-12))


def signal_to_noise(target: np.ndarray, found: np.ndarray) -> float:
    """10 log10 of sum target^2 / sum (target - found)^2, in dB; of signals [n], or of amplitudes [T, F]."""
    noise = float(np.sum((target - found) ** 2))
    return float(10 * np.log10(max(float(np.sum(target**2)), 1e-300) / max(noise, 1e-300)))


def mel_cepstra(decibels: np.ndarray, number: int = CEPSTRA) -> np.ndarray:
    """Cepstra c_1 to c_number of log-mel frames in dB, [T, bins] -> float64 [T, number], scaled so that a distance is in dB.

    The effective difference of two frames that only these coefficients describe is the Euclidean distance of the cepstra: what
    10 / ln 10 sqrt(2 sum_d (c_d - c'_d)^2) is of cepstra of the natural logarithm.
    """
    cepstra = np.asarray(dct(decibels, type=2, norm="ortho", axis=1))
    return cepstra[:, 1 : 1 + number] / np.sqrt(decibels.shape[1])


def mel_cepstral_distortion(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance in dB (Kubichek 1993) along the best alignment in time of log-mel frames in dB, [T, bins] and [U, bins]."""
    a, b = mel_cepstra(one), mel_cepstra(other)
    total, steps = alignment(np.sqrt(np.maximum(0.0, ((a[:, None] - b) ** 2).sum(2))))
    return total / steps


def alignment(cost: np.ndarray) -> tuple[float, int]:
    """(smallest sum, its number of steps) of a path from the first to the last cell of ``cost`` [T, U] by steps of 1 or 0.

    Dynamic time warping (Sakoe & Chiba 1978, symmetric, without weights).
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    count = np.zeros((rows + 1, columns + 1), np.int64)
    total[0, 0] = 0
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            before = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda cell: total[cell])
            total[i, j], count[i, j] = total[before] + cost[i - 1, j - 1], count[before] + 1
    return float(total[rows, columns]), int(count[rows, columns])
