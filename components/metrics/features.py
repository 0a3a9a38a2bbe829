"""Features of images as the metrics take them: one row an image, float64; ValueError in words for anything else."""

from __future__ import annotations

import numpy as np


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
