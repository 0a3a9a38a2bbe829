"""Suspected label errors: confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70, arXiv 1911.00068)."""

from __future__ import annotations

import numpy as np


def suspected(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, likelier class of each), both int64 [S], the most suspicious first.

    ``probabilities`` [N, K] must be out of sample. A class's threshold is the mean probability of it over the images that carry
    its label (eq. 2). An image is suspected if, among the classes whose threshold it reaches, the most probable one is not its
    label: it is an off-diagonal count of the confident joint (eq. 1). Ranked by p(label) - p(likelier class).
    """
    number, classes = probabilities.shape
    own = probabilities[np.arange(number), labels].astype(np.float64)
    sums, counts = np.bincount(labels, own, classes), np.bincount(labels, minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(1, counts), np.inf)  # a class without images suspects nobody
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    likelier = confident.argmax(1)
    rows = np.flatnonzero((confident.max(1) >= 0) & (likelier != labels))
    margin = own[rows] - probabilities[rows, likelier[rows]]
    order = np.argsort(margin, kind="stable")
    return rows[order], likelier[rows][order]
