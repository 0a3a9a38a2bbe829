"""Fréchet distance of two sets of features (Heusel et al. 2017, arXiv 1706.08500, eq. 6): FID where these are Inception's."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, svdvals

from components.metrics.features import as_features, as_pair


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to ``a`` [n, F] and ``b`` [m, F], n, m >= 2.

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
