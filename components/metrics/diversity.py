"""How far apart images are: mean distances of their features, as LPIPS diversity is of image pairs (Zhu et al. 2017)."""

from __future__ import annotations

import numpy as np

from components.metrics.distances import squared_distances
from components.metrics.features import as_features


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
