"""Metrics of several classes per image: scores float [N, K] against truth bool [N, K]."""

from __future__ import annotations

import numpy as np


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Sum over the thresholds of (R_n - R_n-1) P_n for scores [N] of one class; equal scores are one threshold.

    NaN if no image has the class: it ranks nothing.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, positives = scores[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # of each run of equal scores
    precision, recall = positives[last] / (last + 1), positives[last] / positives[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def average_precisions(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Average precision of each class [K]; their mean, without NaN, is the mAP."""
    return np.array([average_precision(column, present) for column, present in zip(scores.T, truth.T, strict=True)])


def f1_scores(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float, np.ndarray]:
    """(micro, macro, per class [K]) F1 = 2 TP / (2 TP + FP + FN) of bool [N, K].

    Micro: of all decisions together. Macro: the mean over the classes that some image has, or was told to have.
    """
    right, wrong = (predicted & truth).sum(0), (predicted != truth).sum(0)
    with np.errstate(invalid="ignore"):
        per_class = 2 * right / (2 * right + wrong)
        micro = 2 * right.sum() / (2 * right.sum() + wrong.sum())
    return float(micro), float(np.nanmean(per_class)) if np.isfinite(per_class).any() else float("nan"), per_class


def best_thresholds(probabilities: np.ndarray, truth: np.ndarray, default: float = 0.5) -> np.ndarray:
    """Thresholds [K] of largest F1, each half-way between two probabilities; a class is present above its threshold.

    ``default`` for a class that no image has; of equal F1 the largest threshold.
    """
    chosen = np.full(truth.shape[1], default)
    for k in np.flatnonzero(truth.any(0)):
        order = np.argsort(-probabilities[:, k], kind="stable")
        ranked, right = probabilities[order, k], np.cumsum(truth[order, k])
        told = np.arange(1, len(order) + 1)
        cuts = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
        f1 = 2 * right[cuts] / (told[cuts] + right[-1])
        best = cuts[int(f1.argmax())]
        below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
        chosen[k] = (ranked[best] + below) / 2
    return chosen
