"""Metrics of translated images and of their codes."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from components.metrics.features import as_features, as_pair, mean_distance_within
from components.metrics.samples.distances import (
    frechet_distance,
    frechet_of_moments,
    kernel_distance,
    moments,
    principal_directions,
)

LEAST = 4  # images per domain: two halves of two each


def told_apart(source: np.ndarray, target: np.ndarray, columns: tuple[int, int]) -> float:
    """Accuracy of a classifier between two of its classes, by the larger of their two logits; ties are errors.

    ``source`` [n, K] and ``target`` [m, K]: logits of real images of each class; ``columns``: their indices. Mean of both.
    """
    own, other = columns
    right = (source[:, own] > source[:, other]).mean(), (target[:, other] > target[:, own]).mean()
    return float(np.mean(right))


def distance_between(real: np.ndarray, made: np.ndarray, dimensions: int | None) -> float:
    """Fréchet distance of equally many features, [n, F] and [m, F], the first min(n, m) of each, since its bias depends on n.

    ``dimensions``: wider features are reduced by PCA, fitted to all the real ones.
    """
    real, made = as_pair(real, made)
    number = min(len(real), len(made))
    if dimensions is not None and real.shape[1] > dimensions:
        directions = principal_directions(real, dimensions)
        real, made = real @ directions, made @ directions
    return frechet_distance(real[:number], made[:number])


def spread(features: np.ndarray) -> float:
    """Mean distance of two of the S translations of one input, averaged over N inputs: ``features`` [N, S, F]."""
    inputs, styles, width = features.shape
    return mean_distance_within(features.reshape(-1, width), np.arange(inputs).repeat(styles))


def l1_error(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two sets of images, uint8 [N, H, W, C] -> mean absolute difference in units of [-1, 1], float64 [N]."""
    if one.shape != other.shape:
        raise ValueError(f"images: shapes {list(one.shape)} and {list(other.shape)} are not the same")
    return np.abs(one.astype(np.float64) - other.astype(np.float64)).mean(axis=(1, 2, 3)) / 127.5


def distance_to_normal(codes: np.ndarray) -> float:
    """Fréchet distance of ``codes`` [n, S] to N(0, I) itself, in closed form; positive also for a sample of N(0, I)."""
    mean, covariance = moments(codes)
    return frechet_of_moments(mean, covariance, np.zeros_like(mean), np.eye(len(mean)))


def distance_of_halves(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[float, float]:
    """(kernel distance of codes ``a`` [n, F] to ``b`` [m, F], that of two halves of one, the mean over both), n, m >= 4.

    Codes are first standardised over both sets, since the kernel is not invariant to shift and scale. Halves are drawn with
    ``seed``; ``a`` and ``b`` are compared by halves too, so that both figures have the same variance.
    """
    a, b = as_features(a, "a", LEAST), as_features(b, "b", LEAST)
    both = np.concatenate([a, b])
    mean, deviation = both.mean(0), both.std(0)
    deviation[deviation == 0] = 1.0
    halves = [halved((codes - mean) / deviation, seed) for codes in (a, b)]
    within = np.mean([kernel_distance(*pair) for pair in halves])
    return kernel_distance(halves[0][0], halves[1][0]), float(within)


def halved(codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two random sets of floor(n / 2) rows."""
    order, half = np.random.default_rng(seed).permutation(len(codes)), len(codes) // 2
    return codes[order[:half]], codes[order[half : 2 * half]]


def conditional_inception_score(logits: np.ndarray) -> float:
    """E_x1 [E_x2|x1 [KL(p(y2 | x2) || p(y2 | x1))]] of ``logits`` [N, S, K]: S >= 2 translations of each of N inputs.

    Huang et al. 2018, arXiv 1804.04732, section 5.2, in nats, not exponentiated. A classifier reads the modes y of the target
    domain in each translation. 0: all translations of an input show one mode, or none clearly; log K: each shows one, and all
    equally often.
    """
    read = probabilities(logits)
    return divergence(read, read.mean(1, keepdims=True))


def inception_score(logits: np.ndarray) -> float:
    """E_x1 [E_x2|x1 [KL(p(y2 | x2) || p(y2))]] of ``logits`` [N, S, K]; never below the conditional score."""
    read = probabilities(logits)
    return divergence(read, read.mean((0, 1), keepdims=True))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """p(y2 | x2) float64 [N, S, K]."""
    array = np.asarray(logits, np.float64)
    if array.ndim != 3 or array.shape[0] == 0 or array.shape[1] < 2 or not np.isfinite(array).all():
        raise ValueError(f"logits: finite numbers [N, 2 or more, K] are expected, found {list(array.shape)}")
    return softmax(array, axis=-1)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean of KL(p || q) = sum of p log(p / q) over the last axis; 0 log 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
    return max(float(terms.sum(-1).mean()), 0.0)  # below 0 by rounding alone
