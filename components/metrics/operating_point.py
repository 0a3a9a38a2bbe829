"""True positive rate at a bound on the false positive rate: a threshold chosen on one set of images, applied to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRID = 10_000  # thresholds of PaddleClas' TprAtFpr


@dataclass(frozen=True)
class Rates:
    """Counts at one threshold: images of the positive class and of the others, and how many of each score above it."""

    positives: int
    negatives: int
    true_positives: int
    false_positives: int

    @property
    def tpr(self) -> float:
        """Share of the positives above the threshold."""
        return self.true_positives / self.positives

    @property
    def fpr(self) -> float:
        """Share of the negatives above the threshold."""
        return self.false_positives / self.negatives


def log_odds(logits: np.ndarray, positive: int) -> np.ndarray:
    """Return log p / (1 - p) of one class, float64 [N], from logits [N, K]: it orders what a probability rounds to 1."""
    logits = logits.astype(np.float64)
    others = np.delete(logits, positive, axis=1)
    top = others.max(1)
    return logits[:, positive] - top - np.log(np.exp(others - top[:, None]).sum(1))


def probability(odds: np.ndarray) -> np.ndarray:
    """Return p of log p / (1 - p)."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(odds, dtype=np.float64)))


def threshold_at(scores: np.ndarray, positive: np.ndarray, fpr: float) -> float:
    """Return the lowest threshold that at most a share ``fpr`` of the negatives is above (strictly); all TPRs are lower.

    ``scores``: [N]; ``positive``: bool [N]. It is the score of a negative, minus infinity if all may be above. ValueError
    without a negative.
    """
    negatives = np.sort(scores[~positive])[::-1]
    if not len(negatives):
        raise ValueError("no image of another class: there is no false positive rate")
    allowed = int(np.floor(fpr * len(negatives) + 1e-9))  # 0.001 * 3000 is 3.0000000000000004 or less than 3
    return float(negatives[allowed]) if allowed < len(negatives) else -np.inf


def rates_at(scores: np.ndarray, positive: np.ndarray, threshold: float) -> Rates:
    """Count what is above the threshold. ValueError if there is no positive, or no negative, image."""
    positives = int(positive.sum())
    if not 0 < positives < len(positive):
        raise ValueError(f"{positives} of {len(positive)} images are of the positive class; both kinds are needed")
    above = scores > threshold
    return Rates(positives, len(positive) - positives, int((above & positive).sum()), int((above & ~positive).sum()))


def best_on_grid(probabilities: np.ndarray, positive: np.ndarray, fpr: float) -> tuple[float, Rates]:
    """Return (threshold, rates) as PaddleClas' TprAtFpr: the best of i / 10,000, chosen on the images that it is measured on.

    Of equal rates the lowest threshold. Scores above 0.9999 cannot be separated: if too many negatives are, no threshold is
    low enough, and (1, rates of 0) is returned.
    """
    grid = np.arange(GRID) / GRID
    negatives = np.sort(probabilities[~positive])
    above = len(negatives) - np.searchsorted(negatives, grid, side="right")
    allowed = np.flatnonzero(above <= fpr * len(negatives))  # the rates fall with the threshold: the first is the best
    threshold = float(grid[allowed[0]]) if len(allowed) else 1.0
    return threshold, rates_at(probabilities, positive, threshold)
