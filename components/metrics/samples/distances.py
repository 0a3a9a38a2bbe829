"""Distances between two sets of features: Fréchet and kernel distance, called FID and KID on features of Inception."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, svdvals

from components.metrics.features import BLOCK, as_features, as_pair


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance (Heusel et al. 2017, arXiv 1706.08500, eq. 6) of ``a`` [n, F] and ``b`` [m, F], n, m >= 2.

    The squared 2-Wasserstein distance of the Gaussians fitted to both.

    Biased: it falls as n and m grow, so compare equal numbers of images only. With n <= F the covariances are singular: then
    it is still well defined (and 0 of a set with itself), but mostly bias.
    """
    a, b = as_pair(a, b)
    return frechet_of_moments(*moments(a), *moments(b))


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [F] and covariance [F, F] (divided by n - 1) of ``features`` [n, F]: all that the distance needs of a set."""
    features = as_features(features, "features")
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_of_moments(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """|m_a - m_b|^2 + Tr(A + B - 2 (A^1/2 B A^1/2)^1/2); means [F], covariances [F, F], symmetric and positive semidefinite.

    The last trace is the sum of the singular values of A^1/2 B^1/2: real by itself, unlike a matrix square root of A B, and
    exact to rounding where eigenvalues of A^1/2 B A^1/2 would lose half of the digits to their roots.
    """
    if not mean_a.shape == mean_b.shape == cov_a.shape[:1] == cov_b.shape[:1]:
        raise ValueError(f"moments: the first are of {mean_a.shape[0]} features, the second of {mean_b.shape[0]}")
    overlap = svdvals(root(cov_a) @ root(cov_b)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap
    return max(float(distance), 0.0)  # below 0 by rounding alone


def root(covariance: np.ndarray) -> np.ndarray:
    """The positive semidefinite square root [F, F]; eigenvalues that are nothing but rounding count as 0."""
    values, vectors = eigh(covariance)
    floor = values[-1] * len(values) * np.finfo(np.float64).eps
    return (vectors * np.sqrt(np.where(values > floor, values, 0.0))) @ vectors.T


def principal_directions(real: np.ndarray, dimensions: int) -> np.ndarray:
    """[F, dimensions]: orthonormal directions in which ``real`` [n, F] varies most; nothing is whitened or centred by them."""
    if not 1 <= dimensions < len(real):
        raise ValueError(f"dimensions: {dimensions} is not allowed: 1 to {len(real) - 1}, {len(real)} real images span no more")
    width = real.shape[1]
    return eigh(moments(real)[1], subset_by_index=(width - dimensions, width - 1))[1]


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kernel distance (Bińkowski et al. 2018, arXiv 1801.01401): unbiased squared MMD of ``a`` [n, F] and ``b`` [m, F].

    n, m >= 2 (Gretton et al. 2012, eq. 3).

    Its mean over draws does not depend on n and m. For two sets of one distribution that mean is 0, so one draw may be below.
    """
    a, b = as_pair(a, b)
    return within(a) + within(b) - 2 * kernel_sum(a, b) / (len(a) * len(b))


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
