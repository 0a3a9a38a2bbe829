"""Inception scores of translations (Huang et al. 2018, arXiv 1804.04732, section 5.2), in nats, not exponentiated, as there.

A translation is scored by the modes of the target domain that a classifier reads in it: p(y | x), one row an image.
"""

from __future__ import annotations

import numpy as np

from components.metrics.classification import softmax


def conditional_inception_score(logits: np.ndarray) -> float:
    """E_x1 [E_x2|x1 [KL(p(y2 | x2) || p(y2 | x1))]] of ``logits`` [N, S, K]: S >= 2 translations of each of N inputs.

    0: all translations of an input show one mode, or none clearly; log K: each shows one, and all equally often.
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
    return softmax(array.reshape(-1, array.shape[2])).reshape(array.shape)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean of KL(p || q) = sum of p log(p / q) over the last axis; 0 log 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
    return max(float(terms.sum(-1).mean()), 0.0)  # below 0 by rounding alone
