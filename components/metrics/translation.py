"""Figures of translated images and of the codes they are made from; arrays in, floats out."""

from __future__ import annotations

import numpy as np

from components.metrics.diversity import mean_distance_within
from components.metrics.features import as_features, as_pair
from components.metrics.frechet import frechet_distance, frechet_of_moments, moments
from components.metrics.generated import principal_directions
from components.metrics.kernel_distance import kernel_distance

LEAST = 4  # images of a domain: two halves of two each


def told_apart(source: np.ndarray, target: np.ndarray, columns: tuple[int, int]) -> float:
    """Accuracy of a classifier between two of its classes, by the larger of their two logits; ties count against it.

    ``source`` [n, K] and ``target`` [m, K]: logits of real images of either; ``columns``: their classes. The mean of both.
    """
    own, other = columns
    right = (source[:, own] > source[:, other]).mean(), (target[:, other] > target[:, own]).mean()
    return float(np.mean(right))


def distance_between(real: np.ndarray, made: np.ndarray, dimensions: int | None) -> float:
    """Fréchet distance of equally many features, [n, F] and [m, F], the first min(n, m) of each: its bias depends on them.

    ``dimensions``: more features than these are reduced to them, along directions of all the real ones.
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
    """Fréchet distance of ``codes`` [n, S] to N(0, I) itself, in closed form; a draw of n from N(0, I) is not at 0 either."""
    mean, covariance = moments(codes)
    return frechet_of_moments(mean, covariance, np.zeros_like(mean), np.eye(len(mean)))


def distance_of_halves(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[float, float]:
    """(kernel distance of codes ``a`` [n, F] to ``b`` [m, F], that of two halves of one, the mean over both), n, m >= 4.

    Each number of a code is first standardised over both sets: the kernel knows a zero and a unit. Halves are drawn by
    ``seed``; ``a`` and ``b`` too are compared by halves, so that both figures scatter alike.
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
