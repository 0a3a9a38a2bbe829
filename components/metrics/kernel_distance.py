"""Kernel distance of two sets of features (Bińkowski et al. 2018, arXiv 1801.01401): KID where these are Inception's."""

from __future__ import annotations

import numpy as np

from components.metrics.distances import BLOCK
from components.metrics.features import as_pair


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of ``a`` [n, F] and ``b`` [m, F], n, m >= 2 (Gretton et al. 2012, eq. 3).

    Its mean over draws does not depend on n and m. For two sets of one distribution that mean is 0, so one draw may be below.
    """
    a, b = as_pair(a, b)
    return within(a) + within(b) - 2 * kernel_sum(a, b) / (len(a) * len(b))


def kernel_distance_of_subsets(a: np.ndarray, b: np.ndarray, subsets: int, images: int, seed: int) -> tuple[float, float]:
    """(mean, standard deviation) of ``kernel_distance`` over ``subsets`` random pairs of ``images`` each, as in papers."""
    a, b = as_pair(a, b, least=images)
    if subsets < 1 or images < 2:
        raise ValueError(f"{subsets} subset(s) of {images} image(s) are not allowed: at least 1 of at least 2")
    rng = np.random.default_rng(seed)
    pairs = [[rng.choice(one, images, replace=False) for one in (a, b)] for _ in range(subsets)]
    found = [kernel_distance(one, other) for one, other in pairs]
    return float(np.mean(found)), float(np.std(found))


def kernel(dot: np.ndarray, dimensions: int) -> np.ndarray:
    """(x.y / F + 1)^3 of dot products x.y."""
    return (dot / dimensions + 1) ** 3


def kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the kernel over all pairs, a block of rows at a time."""
    rows = max(1, BLOCK // len(b))
    return float(sum(kernel(a[i : i + rows] @ b.T, a.shape[1]).sum() for i in range(0, len(a), rows)))


def within(a: np.ndarray) -> float:
    """Mean of the kernel over pairs of two different images of ``a``."""
    own = kernel((a * a).sum(1), a.shape[1]).sum()
    return (kernel_sum(a, a) - float(own)) / (len(a) * (len(a) - 1))
