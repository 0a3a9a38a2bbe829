"""Confidence intervals and a test of a paired difference: two models on the same images."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

Interval = tuple[float, float]


def paired_interval(first: np.ndarray, second: np.ndarray, confidence: float) -> Interval:
    """Return the two-sided interval of mean(first - second) from one value per image, [N]; ValueError if N < 2.

    For values 0 and 1: Tango's score interval, which has a width even if there are no discordant pairs. Else paired t.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"two lists of one value an image are expected, 2 images or more; found {first.shape}, {second.shape}")
    if np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all():
        return tango_interval(int((first > second).sum()), int((first < second).sum()), len(first), confidence)
    return paired_t_interval(first - second, confidence)


def tango_interval(gained: int, lost: int, images: int, confidence: float) -> Interval:
    """Score interval of p12 - p21 (Tango 1998, Statistics in Medicine 17, 891-908); ``gained``, ``lost``: discordant pairs.

    The differences that a two-sided score test at 1 - ``confidence`` does not reject: the test's statistic falls strictly with
    the difference, so each limit is found by bisection.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    estimate = (gained - lost) / images
    low = _bisect(lambda difference: tango_statistic(gained, lost, images, difference) > z, -1.0, estimate)
    high = _bisect(lambda difference: tango_statistic(gained, lost, images, difference) > -z, estimate, 1.0)
    return low, high


def tango_statistic(gained: int, lost: int, images: int, difference: float) -> float:
    """Return T(difference): (observed - hypothesised difference) / standard error under the latter (Tango's eq. 4)."""
    distance = gained - lost - images * difference
    if distance == 0:
        return 0.0
    variance = images * (2 * likely_loss(gained, lost, images, difference) + difference * (1 - difference))
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def likely_loss(gained: int, lost: int, images: int, difference: float) -> float:
    """Return the maximum-likelihood p21 given p12 - p21 = ``difference``: the larger root of 2N q^2 + B q + C."""
    b = (2 * images - gained + lost) * difference - gained - lost
    c = -lost * difference * (1 - difference)
    root = (math.sqrt(max(0.0, b * b - 8 * images * c)) - b) / (4 * images)
    return min(1.0, max(0.0, root, -difference))


def paired_t_interval(differences: np.ndarray, confidence: float) -> Interval:
    """Return Student's interval of the mean of ``differences`` [N]."""
    from scipy.stats import t

    mean, number = float(differences.mean()), len(differences)
    reach = float(t.ppf((1 + confidence) / 2, number - 1)) * float(differences.std(ddof=1)) / math.sqrt(number)
    return mean - reach, mean + reach


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of the exact test that either model gains as often (McNemar 1947, Psychometrika 12)."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _bisect(is_below: Callable[[float], bool], low: float, high: float) -> float:
    """Find where ``is_below`` turns from true to false between ``low`` and ``high``."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2
