"""Out-of-distribution detection: how well a score separates images of the training distribution (``inside``) from others.

Scores are arrays [n]; **higher means more in-distribution**. ValueError for an empty set and for NaN.

Two definitions of "FPR at 95 % TPR" are published and differ, since they call different images positive:

- ``fpr95_in_positive`` (the ViM authors' code): inside is positive. The threshold is the score of rank floor(0.95 n), from the
  top, of the n inside images; the figure is the share of *outside* images that score at least the threshold: missed outliers.
- ``fpr95_out_positive`` (OpenOOD): outside is positive, detected by a low score. The threshold is the score of rank
  ceil(0.95 m), from the bottom, of the m outside images; the figure is the share of *inside* images that score at most the
  threshold: false alarms.

Ties: a threshold accepts all images of one score or none, so images of the other set that tie with the threshold count as
errors (``>=`` and ``<=``), and the true positive rate may exceed 95 %. If all scores are equal both figures are 1, and AUROC,
which counts a tie as half, is 0.5.
"""

from __future__ import annotations

import numpy as np

SLACK = 1e-9  # 0.95 * 60 is 56.99..., and means 57


def detection_figures(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """All metrics by name; higher is better for the first three, lower for the two ``fpr95``."""
    return {
        "auroc": auroc(inside, outside),
        "aupr_in": aupr_in(inside, outside),
        "aupr_out": aupr_out(inside, outside),
        "fpr95_in_positive": fpr95_in_positive(inside, outside),
        "fpr95_out_positive": fpr95_out_positive(inside, outside),
    }


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """P(inside > outside) + P(equal) / 2, of one image each: the area below the ROC curve, whichever set is positive."""
    inside, outside = _scores(inside, "inside"), np.sort(_scores(outside, "outside"))
    below = np.searchsorted(outside, inside, side="left") + np.searchsorted(outside, inside, side="right")
    return float(below.mean() / (2 * len(outside)))


def aupr_in(inside: np.ndarray, outside: np.ndarray) -> float:
    """Average precision with inside as positive: sum over thresholds of precision x gain of recall.

    No linear interpolation between points, which is too optimistic for few points; published code does the same.
    """
    true, false = _counts(_scores(inside, "inside"), _scores(outside, "outside"))
    return float(np.sum(np.diff(true, prepend=0) * true / (true + false)) / true[-1])


def aupr_out(inside: np.ndarray, outside: np.ndarray) -> float:
    """Average precision with outside as positive, detected by a low score."""
    return aupr_in(-_scores(outside, "outside"), -_scores(inside, "inside"))


def fpr95_in_positive(inside: np.ndarray, outside: np.ndarray) -> float:
    """Share of outside images at or above the threshold that 95 % of the inside images reach; ties are errors, see above."""
    return fpr_in_positive(inside, outside, 0.95)


def fpr95_out_positive(inside: np.ndarray, outside: np.ndarray) -> float:
    """Share of inside images at or below the threshold that detects 95 % of the outside images; ties are errors, see above."""
    return fpr_out_positive(inside, outside, 0.95)


def fpr_in_positive(inside: np.ndarray, outside: np.ndarray, tpr: float) -> float:
    """``fpr95_in_positive`` for another true positive rate, above 0 and at most 1."""
    inside, outside = _scores(inside, "inside"), _scores(outside, "outside")
    rank = max(1, int(np.floor(_rate(tpr) * len(inside) + SLACK)))
    return float(np.mean(outside >= np.sort(inside)[-rank]))


def fpr_out_positive(inside: np.ndarray, outside: np.ndarray, tpr: float) -> float:
    """``fpr95_out_positive`` for another true positive rate, above 0 and at most 1."""
    inside, outside = _scores(inside, "inside"), _scores(outside, "outside")
    rank = int(np.ceil(_rate(tpr) * len(outside) - SLACK))
    return float(np.mean(inside <= np.sort(outside)[rank - 1]))


def threshold_at_tpr(inside: np.ndarray, tpr: float) -> float:
    """Highest threshold that at least a share ``tpr`` of the inside images reaches (score >= threshold).

    To be chosen on validation images: an image is out-of-distribution if its score is below the threshold.
    """
    inside = _scores(inside, "inside")
    rank = int(np.ceil(_rate(tpr) * len(inside) - SLACK))
    return float(np.sort(inside)[-rank])


def roc_curve(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(false positive rate, true positive rate), float64 [thresholds + 1] each from (0, 0) to (1, 1), inside as positive."""
    true, false = _counts(_scores(inside, "inside"), _scores(outside, "outside"))
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def _counts(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of positives and negatives that reach each distinct score, from the highest down."""
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]
    reach = [len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left") for scores in (positive, negative)]
    return reach[0], reach[1]


def _scores(scores: np.ndarray, which: str) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"{which}: the scores have shape {list(scores.shape)}; wanted [n] with at least one image")
    if missing := int(np.isnan(scores).sum()):
        raise ValueError(f"{which}: {missing} of {len(scores)} scores are NaN; such images cannot be ranked, leave them out")
    return scores


def _rate(tpr: float) -> float:
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr: {tpr} is not allowed: above 0, at most 1")
    return tpr
