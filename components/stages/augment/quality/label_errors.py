"""Suspected label errors by confident learning (Northcutt et al. 2021, "Confident Learning", section 3).

A class's threshold is the mean probability that its own pictures have for it. A picture is counted for the class of the
greatest probability among those that reach their thresholds; if that is another class than its label, the label is suspected.
The probabilities come from a logistic regression on cheap features: it finds wrong labels of simple pictures. If it tells the
classes poorly, its opinion of a label is worth nothing, and no label is suspected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from components.stages.augment.quality.features import features
from components.stages.augment.quality.logistic import FOLDS, out_of_sample
from components.stages.augment.quality.thumbnails import Thumbnails

MIN_ACCURACY = 0.8  # out of sample, below which no label is suspected
BUDGET = 120_000  # pictures x classes: of a larger set, this many are judged


@dataclass(frozen=True)
class Suspects:
    """``rows`` int64 [S], the most doubtful first; ``suggested`` int64 [S]: the class that each seems to have.

    ``own`` and ``other`` float64 [S]: probabilities of the label and of the suggested class; ``judged``: number of pictures;
    ``accuracy`` out of sample; ``reason``: why no label is suspected, or "".
    """

    rows: np.ndarray
    suggested: np.ndarray
    own: np.ndarray
    other: np.ndarray
    judged: int = 0
    accuracy: float = 0.0
    reason: str = ""


def nobody(reason: str, judged: int = 0, accuracy: float = 0.0) -> Suspects:
    """Suspect no label."""
    none = np.zeros(0, dtype=np.int64)
    return Suspects(none, none, np.zeros(0), np.zeros(0), judged, accuracy, reason)


def suspect_labels(thumbnails: Thumbnails, labels: np.ndarray, digests: Sequence[bytes], rows: np.ndarray) -> Suspects:
    """Judge the labels int64 [N] of ``rows``, in the order of the digests: a random one that no machine changes."""
    order = np.array(sorted(rows.tolist(), key=lambda row: (digests[row], row)), dtype=np.int64)
    present, counts = np.unique(labels[order], return_counts=True)
    classes = present[counts >= FOLDS]
    if len(classes) < 2:
        return nobody(f"fewer than two classes have {FOLDS} pictures")
    order = order[np.isin(labels[order], classes)][: BUDGET // len(classes)]
    classes, own = np.unique(labels[order], return_inverse=True)
    if np.bincount(own).min() < FOLDS:
        return nobody(f"too many classes: {len(classes)}", len(order))
    chosen = Thumbnails(thumbnails.small[order], thumbnails.grey[order])
    with threadpool_limits(1):  # the same sums with any number of cores, and quicker for small matrices
        probabilities = out_of_sample(features(chosen), own, len(classes))
    accuracy = float((probabilities.argmax(axis=1) == own).mean())
    if accuracy < MIN_ACCURACY:
        return nobody("simple features tell the classes poorly", len(order), accuracy)
    found, suggested = confident_disagreements(probabilities, own)
    mine, other = probabilities[found, own[found]], probabilities[found, suggested]
    ranked = np.lexsort((order[found], (mine - other).round(6)))
    return Suspects(
        order[found][ranked], classes[suggested][ranked], mine[ranked], other[ranked], judged=len(order), accuracy=accuracy
    )


def confident_disagreements(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (indices, classes) off the diagonal of the confident joint: probabilities [N, K], labels int64 [N]."""
    thresholds = np.array([probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])])
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.argmax(axis=1)
    found = np.flatnonzero((confident.max(axis=1) >= 0) & (best != labels))
    return found, best[found]
