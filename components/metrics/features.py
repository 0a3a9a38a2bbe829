"""Features of images: one row per image, float64, and the distances between rows.

Mean distances measure diversity, as LPIPS does for pairs of images (Zhu et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 2**22  # distances at once: 32 MiB, so that 50,000 images a side fit in memory


def as_features(features: np.ndarray, name: str, least: int = 2) -> np.ndarray:
    """``features`` as float64 [N, F]; ``name``: what the set is called, ``least``: how many images the figure needs."""
    array = np.asarray(features)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] == 0:
        raise ValueError(f"{name}: features [N, F] are expected, found {array.dtype} {list(array.shape)}")
    if len(array) < least:
        raise ValueError(f"{name}: {len(array)} image(s) are too few: at least {least} are needed")
    broken = np.flatnonzero(~np.isfinite(array).all(1))
    if len(broken):
        raise ValueError(f"{name}: features of image {broken[0]} are not finite ({len(broken)} of {len(array)} such images)")
    return array.astype(np.float64)


def as_pair(real: np.ndarray, made: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of one extractor as float64 [n, F] and [m, F]."""
    real, made = as_features(real, "real", least), as_features(made, "made", least)
    if real.shape[1] != made.shape[1]:
        raise ValueError(f"features: real has {real.shape[1]} an image, made {made.shape[1]}: one extractor gives both")
    return real, made


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """|a_i - b_j|^2 >= 0 of ``a`` [n, F] and ``b`` [m, F], rows in order: blocks [about BLOCK / m, m].

    By |a|^2 + |b|^2 - 2 a.b about the mean of ``b``, so off by about 1e-15 of the squared norms there, not of the distance.
    """
    centre = b.mean(0)
    a, b = a - centre, b - centre
    b_norms, rows = (b * b).sum(1), max(1, BLOCK // len(b))
    for start in range(0, len(a), rows):
        block = a[start : start + rows]
        found = (block * block).sum(1)[:, None] + b_norms - 2 * block @ b.T
        yield np.maximum(found, 0.0)


def mean_distance(features: np.ndarray) -> float:
    """Mean Euclidean distance over all pairs of two different images of ``features`` [n, F], n >= 2; 0: all are one image."""
    features = as_features(features, "features")
    total = sum(float(np.sqrt(block).sum()) for block in squared_distances(features, features))  # an image is 0 from itself
    return total / (len(features) * (len(features) - 1))


def mean_distance_within(features: np.ndarray, condition: np.ndarray) -> float:
    """``mean_distance`` within each condition (class, int [n]), averaged over those that have two images or more."""
    features = as_features(features, "features")
    if condition.shape != features.shape[:1]:
        raise ValueError(f"condition: {len(features)} of them are expected, one an image, found shape {list(condition.shape)}")
    values, counts = np.unique(condition, return_counts=True)
    if counts.max() < 2:
        raise ValueError(f"condition: no one of the {len(values)} has two images: diversity within them is not defined")
    return float(np.mean([mean_distance(features[condition == value]) for value in values[counts > 1]]))
