"""Confidence intervals of a mean over images: one model on one set of images."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

Interval = tuple[float, float]
RESAMPLES = 1000
MAX_RESAMPLED = 10_000  # values; of more, the mean is as good as normal


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the two-sided interval of the mean of one value per image, [N]; ValueError if N < 1.

    For values 0 and 1: Wilson's. Else the bootstrap's, or the normal one of many values. Values that are not finite give NaN.
    """
    if values.ndim != 1 or len(values) < 1:
        raise ValueError(f"a list of one value an image is expected, found {values.shape}")
    if np.isin(values, (0, 1)).all():
        return wilson_interval(int(values.sum()), len(values), confidence)
    if not np.isfinite(values).all():
        return math.nan, math.nan
    if len(values) <= MAX_RESAMPLED:
        return bootstrap_interval(values, confidence)
    reach = _z(confidence) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - reach, float(values.mean()) + reach


def wilson_interval(successes: int, number: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927, JASA 22, 209-212). It is inside [0, 1], and has a width at 0 and at 1."""
    z, share = _z(confidence), successes / number
    centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    reach = z / (1 + z**2 / number) * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def bootstrap_interval(values: np.ndarray, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of the mean of [N] from ``RESAMPLES`` resamples (Efron 1979, Annals of Statistics 7, 1-26)."""
    random, number = np.random.Generator(np.random.PCG64(seed)), len(values)
    means = np.array([values[random.integers(0, number, number)].mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(means, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
