"""Precision, recall, density and coverage of generated images, by nearest-neighbour balls around features."""

from __future__ import annotations

import numpy as np

from components.metrics.features import as_pair, squared_distances

ROUNDING = 1e-12  # of the largest squared norm: two computations of one distance agree within it, so a tie stays a tie


def precision_recall(real: np.ndarray, made: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1 and 2) of [n, F] and [m, F], n, m > k.

    Precision: the share of generated images within a ball of a real one; recall: the share of real images within a ball of a
    generated one.
    """
    real, made = as_pair(real, made, least=k + 1)
    return float((balls(real, made, k)[0] > 0).mean()), float((balls(made, real, k)[0] > 0).mean())


def density_coverage(real: np.ndarray, made: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, arXiv 2002.09797) of [n, F] and [m, F], n, m > k.

    Density: number of real balls around a generated image, over k (1 on average for the same distribution; may exceed 1).
    Coverage: the share of real balls that contain a generated image (about 1 - 2^-k for the same distribution and n = m).
    """
    real, made = as_pair(real, made, least=k + 1)
    around, inside = balls(real, made, k)
    return float(around.mean() / k), float((inside > 0).mean())


def balls(centres: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of balls around each point [m] and of points in each ball [n]; the radius reaches the k-th neighbour."""
    if k < 1:
        raise ValueError(f"k: {k} is not allowed: at least 1")
    both = np.concatenate([centres, points]) - centres.mean(0)
    reach = radii(centres, k) + ROUNDING * (both * both).sum(1).max()
    around, inside, row = np.zeros(len(points), np.int64), np.zeros(len(centres), np.int64), 0
    for block in squared_distances(centres, points):
        within = block <= reach[row : row + len(block), None]
        around += within.sum(0)
        inside[row : row + len(block)] = within.sum(1)
        row += len(block)
    return around, inside


def radii(centres: np.ndarray, k: int) -> np.ndarray:
    """Squared distances [n] to the k-th nearest other centre."""
    blocks = [np.partition(block, k, axis=1)[:, k] for block in squared_distances(centres, centres)]  # the nearest is itself
    return np.concatenate(blocks)
